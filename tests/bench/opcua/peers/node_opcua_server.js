// node-opcua's server; see __init__.py for what it does: COUNT FOLDERS STATE.
"use strict";
const path = require("path");
const at = process.env.LOCKSTEP_BENCH_MODULES;
const { OPCUAServer } = require(path.join(at, "node-opcua-server"));
const { OPCUACertificateManager } = require(path.join(at, "node-opcua-certificate-manager"));
const { MessageSecurityMode, SecurityPolicy } = require(path.join(at, "node-opcua-secure-channel"));
const { DataType } = require(path.join(at, "node-opcua-variant"));
const { StatusCodes } = require(path.join(at, "node-opcua-status-code"));
const { nodesets } = require(path.join(at, "node-opcua-nodesets"));
const begin = performance.now();

async function main() {
  const [count, folders, state] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
  const trust = new OPCUACertificateManager({
    rootFolder: path.join(state, "node-opcua"), automaticallyAcceptUnknownCertificate: true,
  });
  const server = new OPCUAServer({
    serverInfo: { applicationUri: "urn:lockstep:bench" },
    port: 0, host: "127.0.0.1", hostname: "127.0.0.1", resourcePath: "/peer",
    nodeset_filename: [nodesets.standard],
    certificateFile: path.join(state, "pki/server.der"), privateKeyFile: path.join(state, "pki/server.pem"),
    serverCertificateManager: trust, userCertificateManager: trust,
    securityModes: [MessageSecurityMode.SignAndEncrypt], securityPolicies: [SecurityPolicy.Basic256Sha256],
    allowAnonymous: true, maxConnectionsPerEndpoint: 200,
    serverCapabilities: {
      maxSessions: 200, maxSubscriptions: 500, maxMonitoredItems: 200000, maxMonitoredItemsPerSubscription: 100000,
      operationLimits: { maxNodesPerRead: 10000, maxMonitoredItemsPerCall: 10000 },
    },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const namespace = space.registerNamespace("urn:bench");
  if (namespace.index !== 2) throw new Error("namespace " + namespace.index);
  const nodes = [];
  const per = Math.max(1, Math.floor(count / folders));
  let folder;
  for (let index = 0; index < count; index++) {
    if (index % per === 0) {
      folder = namespace.addFolder("ObjectsFolder", { nodeId: "s=f" + index / per, browseName: "f" + index / per });
    }
    const name = "v" + index;
    nodes.push(namespace.addVariable({
      componentOf: folder, nodeId: "s=" + name, browseName: name, dataType: "Double", minimumSamplingInterval: 0,
      value: { dataType: DataType.Double, value: 0 },
    }));
  }
  await server.start();
  const port = server.endpoints[0].port;
  console.log(`ready opc.tcp://127.0.0.1:${port}/peer ${((performance.now() - begin) / 1000).toFixed(3)}`);
  let generation = 0;
  setInterval(() => {
    generation++;
    const now = new Date();
    for (const node of nodes) node.setValueFromSource({ dataType: DataType.Double, value: generation }, StatusCodes.Good, now);
  }, 100);
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

main().catch((error) => { console.error(error); process.exit(1); });
