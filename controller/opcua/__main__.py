"""python -m controller.opcua FACTORY --state DIR [--port N]: the OPC UA server of a factory whose core runs on this computer.

Exit status: 0 ended by a signal, 1 cannot start here, 2 the factory file is wrong, 3 the core runs another factory.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from controller.audit.files import AuditError
from controller.feed import feed_signals, schema_hash
from controller.opcua.certificate import TOOLS, CertificateError, Identity, own
from controller.opcua.names import OURS
from controller.opcua.nodes.sources import NodesetError
from controller.opcua.server import FactoryServer, PortTaken, bind
from controller.opcua.space import Space, space
from controller.users import FIRST_USER, UserError
from twin.clock import LoopClock
from twin.factory import FactoryError, read

log = logging.getLogger("lockstep.opcua")


class FewTracebacks(logging.Filter):
    """Of what asyncua logs, lets its first tracebacks through: no peer may fill a disk with our log."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self._left = most

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        if not record.name.startswith("asyncua"):
            return True
        self._left -= bool(record.exc_info)
        return bool(record.exc_info) and self._left >= 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m controller.opcua", description=__doc__.splitlines()[0])
    parser.add_argument("factory", type=Path, help="the factory file")
    parser.add_argument("--state", type=Path, required=True, help="the folder that the core keeps its state in")
    parser.add_argument("--port", type=int, help="TCP port instead of the factory's opcua_port; 0 takes a free one")
    given = parser.parse_args(arguments)
    handler = logging.StreamHandler()
    handler.addFilter(FewTracebacks())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for told in ("lockstep.opcua", "lockstep.audit"):
        logging.getLogger(told).setLevel(logging.INFO)
    try:
        factory = read(given.factory)
        signals = feed_signals(factory)
        port = factory.opcua_port if given.port is None else given.port
        differs = _loop_run(_run(space(factory, signals), schema_hash(signals), given.state, port))
    except FactoryError as wrong:
        for mistake in wrong.mistakes:
            print(f"{given.factory}: {mistake}", file=sys.stderr)
        return 2
    except (PortTaken, NodesetError, CertificateError, UserError, AuditError, OSError) as cannot:
        print(cannot, file=sys.stderr)
        return 1
    if differs:
        print(differs, file=sys.stderr)
        return 3
    return 0


async def _run(shown: Space, schema: str, state: Path, port: int) -> str:
    """Serve until a signal ends it. Returns why the core cannot be followed, or nothing."""
    clock = LoopClock(asyncio.get_running_loop())
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with bind(port) as bound:
        with _no_collector():
            server = FactoryServer(shown, schema, state, bound, clock)
        if password := server.users.first():
            print(f"first user {FIRST_USER}, an administrator, password {password} (not shown again)", flush=True)
        tools = own(state / "pki", "client", TOOLS)
        server.trust.trust_own(tools.certificate)
        await server.start()
        try:
            await _until_ended(server, lambda: _say_ready(server.url, tools, shown))
        finally:
            await server.stop()
    return server.core.differs


def _loop_run(work: Coroutine[Any, Any, str]) -> str:
    """Run on the quick loop where there is one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """While thousands of objects are made that all stay, the collector need not look at them; nor afterwards."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def _until_ended(server: FactoryServer, ready: Callable[[], None]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    ready()
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(server.run())
        work.add_done_callback(lambda _: ended.set())
        await ended.wait()
        work.cancel()


def _say_ready(url: str, tools: Identity, shown: Space) -> None:
    """Tell where the server is, and one line that reads a value from it."""
    command = Path(sys.executable).with_name("uaread")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    security = f"Basic256Sha256,SignAndEncrypt,{tools.certificate_file},{tools.key_file}"
    sample = next((variable for variable in shown.variables if variable.unit), shown.variables[0])
    print(f"ready {url}", flush=True)
    print(f'try: {command} --timeout 10 -u {url} --security {security} -n "ns={OURS};s={sample.path}"', flush=True)


if __name__ == "__main__":
    sys.exit(main())
