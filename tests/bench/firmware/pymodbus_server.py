"""pymodbus's TCP server: `pymodbus_server.py PORT`."""

import asyncio
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def main(port: int) -> None:
    """Serve 1,000 registers."""
    device = SimDevice(id=0, simdata=SimData(0, values=list(range(1000)), datatype=DataType.REGISTERS))
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print("listens", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
