// node jsmodbus_client.js tcp|rtu WHERE UNIT STEPS: does the steps, [[method, arguments...], ...] as JSON, one after the other, and
// prints what each came to: its values, or the exception's code.
'use strict'

const events = require('events')
const fs = require('fs')
const net = require('net')
const tty = require('tty')
const modbus = require('jsmodbus')

const [kind, where, unit, steps] = process.argv.slice(2)

function terminal (path) {
  const fd = fs.openSync(path, 'r+')
  const input = new tty.ReadStream(fd)
  input.setRawMode(true)
  const port = new events.EventEmitter()
  port.isOpen = true
  port.write = (data, done) => { fs.writeSync(fd, data); if (done) done() }
  port.end = () => input.destroy()
  input.on('data', data => port.emit('data', data))
  return port
}

async function run (client) {
  const found = []
  for (const [method, ...args] of JSON.parse(steps)) {
    try {
      const { response } = await client[method](...args)
      found.push(response.body.valuesAsArray ? Array.from(response.body.valuesAsArray) : 0)
    } catch (failed) {
      if (!failed.response) throw failed
      found.push({ exception: failed.response.body.code })
    }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  console.log(JSON.stringify(found))
}

function end (socket, ended) {
  ended.then(() => socket.end(), failed => { console.error(failed); process.exit(1) })
}

if (kind === 'tcp') {
  const [host, port] = where.split(':')
  const socket = net.connect(Number(port), host)
  const client = new modbus.client.TCP(socket, Number(unit), 5000)
  socket.on('connect', () => end(socket, run(client)))
} else {
  const port = terminal(where)
  end(port, run(new modbus.client.RTU(port, Number(unit), 5000)))
}
