"""The rows that compare servers."""

import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.opcua.checked import checked
from tests.bench.opcua.served import NAMES, NotReady, Server, command, folder

MANY, SOME, FOLDERS = 10_000, 1_000, 100
ROUNDS = 5
ORDERS = 600
DURATION_S = 4.0
STARTS = 5
FLAT_PATIENCE_S = 100.0
POLICY = "Basic256Sha256, SignAndEncrypt"


class Field:
    """All servers that can be had, with as many Doubles as a row wants; they stand still until it is their turn.

    Attributes:
        left_out: why a server cannot be had.
    """

    def __init__(self, rows: list[str]) -> None:
        self._rows = rows
        self._scratch = tempfile.TemporaryDirectory(prefix="lockstep-opcua-")
        self._running: dict[tuple[str, int], Server] = {}
        self.left_out = {name: told for name in NAMES if isinstance(told := command(name), str)}
        self.names = [name for name in NAMES if name not in self.left_out]

    def __enter__(self) -> "Field":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._running.values():
            server.__exit__()
        self._scratch.cleanup()

    def state(self, name: str, more: str = "") -> Path:
        """A folder for a server."""
        return folder(Path(self._scratch.name), f"{name}{more}")

    def server(self, name: str, count: int) -> Server:
        """One that runs; it stands still."""
        key = name, count
        if key not in self._running:
            self._running[key] = Server(name, count, FOLDERS, self.state(name, str(count))).__enter__()
            self._running[key].stand(True)
        return self._running[key]

    def turns(self, count: int, rounds: int, measure: Callable[[Server], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """What was measured of each server, by turns."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in self.names}
        for name in self.names:
            self._started(name, count)
        for turn in range(rounds):
            for name in self.names if turn % 2 == 0 else reversed(self.names):
                if (server := self._running.get((name, count))) is not None:
                    self._measured(server, measure, found[name])
        return {name: told for name, told in found.items() if told}

    def _measured(self, server: Server, measure: Callable[[Server], dict[str, Any]], found: list[dict[str, Any]]) -> None:
        """One that failed a client is not asked again."""
        server.stand(False)
        try:
            found.append(measure(server))
            server.stand(True)
        except subprocess.SubprocessError as failed:
            self.left_out[server.name] = f"with {server.count} Doubles a client of it failed: {failed}"
            del self._running[server.name, server.count]
            server.__exit__()

    def checked(self) -> dict[str, Any]:
        """What node-opcua's client counts of the same."""
        found = {}
        for name in (one for one in ("ours", "asyncua") if one in self.names):
            self._started(name, SOME)
            if (server := self._running.get((name, SOME))) is not None:
                found[name] = checked(server)
        return found

    def _started(self, name: str, count: int) -> None:
        try:
            self.server(name, count)
        except NotReady as error:
            self.left_out[name] = str(error)


def notifications(field: Field) -> dict[str, Any]:
    """Delivered of 100,000 offered each second."""
    told = field.turns(MANY, ROUNDS, lambda server: server.ask("changes", duration_s=DURATION_S))
    found = compared(field, told, "per_s", "notifications/s", more_is_better=True)
    return {**found, **_besides(told), "checked": field.checked()}


def latency(field: Field) -> dict[str, Any]:
    """From a value's source time to its receipt, 99 of 100, with 10,000 offered each second."""
    told = field.turns(SOME, 2 * ROUNDS, lambda server: server.ask("changes", duration_s=DURATION_S / 2))
    found = compared(field, told, "p99_s", "s", more_is_better=False)
    return {**found, "p50": _medians(told, "p50_s"), **_besides(told)}


def thousand(field: Field) -> dict[str, Any]:
    """Values a second by Reads of the same 1,000 nodes, one after the other, while all are written.

    `varied`: each of 600 requests in turn has the nodes in another order.
    """
    return _reads(field, "values_per_s", "values/s", more_is_better=True)


def single(field: Field) -> dict[str, Any]:
    """Round trip of a Read of one node, while 1,000 are written every 100 ms. `varied`: of another node each time."""
    return _reads(field, "p50_s", "s", more_is_better=False, each=1)


def _reads(field: Field, key: str, unit: str, more_is_better: bool, **more: Any) -> dict[str, Any]:
    told = field.turns(SOME, ROUNDS, lambda server: server.ask("reads", duration_s=DURATION_S / 2, **more))
    varied = field.turns(SOME, ROUNDS, lambda server: server.ask("reads", duration_s=DURATION_S / 2, orders=ORDERS, **more))
    found = compared(field, told, key, unit, more_is_better=more_is_better)
    found |= {name: _medians(told, f"{name}_s") for name in ("p50", "p99")}
    return {**found, "server_cpu": _medians(told, "server_cpu"), "varied": _medians(varied, key)}


def one_folder(field: Field) -> dict[str, Any]:
    """From the imports' end until ready, with 10,000 variables in one folder; peers once."""
    return _starts(field, MANY, 1)


def start(field: Field) -> dict[str, Any]:
    """From the imports' end until ready, with the specification's own nodes alone."""
    return _starts(field, 0, STARTS)


def _starts(field: Field, count: int, peer_times: int) -> dict[str, Any]:
    """Ours is started STARTS times; one that was not ready in time is not started again.

    `first`: our first start, which has to fill the cache; it counts for nothing else.
    """
    told: dict[str, list[dict[str, Any]]] = {}
    late: dict[str, str] = {}
    first = None
    for turn in range(-1, STARTS):
        for name in field.names:
            if name in late or (name != "ours" and not 0 <= turn < peer_times):
                continue
            try:
                with Server(name, count, 1, field.state(name, f"-start{count}"), patience_s=FLAT_PATIENCE_S) as server:
                    told.setdefault(name, []).append({"s": server.ready_s})
            except NotReady as error:
                late[name] = str(error)
        if turn < 0 and "ours" in told:
            first = _short(told.pop("ours")[0]["s"])
    found = compared(field, told, "s", "s", more_is_better=False)
    return {**found, "first": first, "left_out": {**found["left_out"], **late}}


def compared(field: Field, told: Mapping[str, list[dict[str, Any]]], key: str, unit: str, more_is_better: bool) -> dict[str, Any]:
    """Each server's median and spread; `ratio` is ours over asyncua's, `ratios` ours over each."""
    medians = _medians(told, key)
    ours = medians.get("ours")
    ratios = {name: _short(ours / other) for name, other in medians.items() if ours is not None and name != "ours" and other}
    return {
        **medians, "ratio": ratios.get("asyncua"), "ratios": ratios, "unit": unit, "more_is_better": more_is_better,
        "spread": {name: [_short(pick(one[key] for one in each)) for pick in (min, max)] for name, each in told.items()},
        "policy": POLICY, "left_out": dict(field.left_out),
    }  # fmt: skip


def _besides(told: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    kept = {key: _medians(told, key) for key in ("server_cpu", "client_cpu", "created_s")}
    return {**kept, "lost": {name: sum(one["lost"] for one in each) for name, each in told.items()}}


def _medians(told: Mapping[str, list[dict[str, Any]]], key: str) -> dict[str, float]:
    return {name: _short(statistics.median(one[key] for one in each)) for name, each in told.items()}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def line(name: str, found: Mapping[str, Any]) -> str:
    """A row of the table."""
    shown = []
    for server in NAMES:
        if server in found:
            least, most = found["spread"].get(server, (found[server], found[server]))
            cpu = found.get("server_cpu", {}).get(server)
            used = "" if cpu is None else f" at {cpu:.2f} core"
            shown.append(f"{server} {found[server]:.4g} ({least:.4g} to {most:.4g}){used}")
    ratio = found.get("ratio")
    told = "" if ratio is None else f"   ratio to asyncua {ratio:.3g}"
    missing = "".join(f"\n{'':16} without {server}: {why}" for server, why in found.get("left_out", {}).items())
    more = f"\n{'':16} checked: {found['checked']}" if "checked" in found else ""
    if "varied" in found:
        more += f"\n{'':16} varied: {found['varied']}"
    if "lateness_ms" in found:
        more += f"\n{'':16} the core's scans, ms late: {found['lateness_ms']}"
    return f"{name:16} [{found.get('unit', '')}] {'; '.join(shown)}{told}{more}{missing}"


ROWS: dict[str, Callable[[Field], dict[str, Any]]] = {
    "notifications": notifications,
    "p99 latency": latency,
    "Read of 1,000": thousand,
    "single Read": single,
    "one folder": one_folder,
    "start": start,
}
