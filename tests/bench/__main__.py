"""`python -m tests.bench hil|firmware|kinematics|fieldbus|opcua [--json] [--only METRIC …]`: how fast it is on this machine, now.

hil: each figure is {"ours": x, "ratio": y}; y is how many times better x is than what has to be reached at least.
firmware: {"ours": x, "peer": y, "peer_name": name, "ratio": ours / peer, "unit": of x and y}; a figure without a peer is only told.
kinematics: {"ours": x, "peer": y, "peer_name": name, "ratio": how many times faster, "error": largest difference, "unit": of x
and y}; ours and the peer are timed in turn in this one process, on one thread each.
fieldbus: one figure for each row, or figures by their names; shares are 0 to 1, times seconds.
opcua: {"ours": x, each peer's name: y, "ratio": x / asyncua's y, "ratios": x / each y, "spread": [least, most] of each,
"unit": of x and y, "server_cpu": cores that each server took}; figures are medians of one run in which all take turns.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.pairs import Row

KINEMATICS = ("dynamics", "inverse", "collision", "trajectories", "checks", "line")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> int:
    """Measure and print; 0 when everything asked for was measured, 1 when nothing has such a name."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", metavar="METRIC", help="the beginning of its name is enough")
    given = parser.parse_args()

    def wanted(name: str) -> bool:
        return not given.only or any(name.startswith(only) for only in given.only)

    if not given.json and given.set == "kinematics":
        print(_where(), _HEAD, sep="\n", flush=True)
    found = {}
    for name, figures, line in SETS[given.set](wanted):
        found[name] = figures
        if not given.json:
            print(line, flush=True)
    if given.json:
        print(json.dumps(found))
    return 0 if found else 1


Lines = Iterator[tuple[str, Any, str]]


def _hil(wanted: Callable[[str], bool]) -> Lines:
    from tests.bench import rig_speed

    for metric in rig_speed.METRICS:
        if wanted(metric.name):
            ours = max(metric.measure(), 1e-6)
            ratio = ours / metric.least if metric.more_is_better else metric.least / ours
            figures: dict[str, object] = {"ours": _short(ours), "ratio": float(f"{ratio:.3g}")}
            bounds = f"at least {metric.least:g}, aim {metric.aim:g}"
            yield metric.name, figures, f"{metric.name:76} {ours:10.4g}   {bounds}: {ratio:.2f} times"


def _firmware(wanted: Callable[[str], bool]) -> Lines:
    from tests.bench.firmware.figures import METRICS

    for name, measure in METRICS:
        if wanted(name):
            found = measure()
            peer, ratio = (None if value is None else _short(value) for value in (found.peer, found.ratio))
            figures: dict[str, object] = {"ours": _short(found.ours), "peer": peer, "peer_name": found.peer_name}
            figures |= {"ratio": ratio, "unit": found.unit}
            told = "" if peer is None else f"{peer:10.4g}   ratio {ratio:.3g}, {found.bound}   {found.peer_name}"
            yield name, figures, f"{name:72} {found.ours:10.4g} {found.unit:4} {told}"


def _kinematics(wanted: Callable[[str], bool]) -> Lines:
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    for topic in KINEMATICS:
        for name, measure in importlib.import_module(f"tests.bench.kinematics.{topic}").METRICS:
            if not wanted(name):
                continue
            row = measure()
            figures: dict[str, object] = {
                "ours": _short(row.ours),
                "peer": None if row.peer is None else _short(row.peer),
                "peer_name": row.peer_name,
                "ratio": float(f"{row.ratio:.3g}"),
                "error": float(f"{row.error:.2g}"),
                "unit": row.unit,
            }
            yield name, figures, _line(name, row)


def _fieldbus(wanted: Callable[[str], bool]) -> Lines:
    from tests.bench.fieldbus import rows

    for name, value in rows(wanted):
        told = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        yield name, value, f"{name:24} {told}"


def _opcua(wanted: Callable[[str], bool]) -> Lines:
    from tests.bench.opcua import rows

    yield from rows(wanted)


SHOWN = """numba numpy pin coal mujoco casadi ruckig toppra EAIK ur-analytic-ik roboticstoolbox-python simpy salabim""".split()
_HEAD = f"{'metric':44} {'ours':>10} {'peer':>10} {'':4} {'ratio':>9}   {'':14} {'':10} {'error':>8}  peer"


def _where() -> str:
    """The machine and the versions."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in told if line.startswith("model name")), platform.machine())
    versions = [f"{name} {version(name)}" for name in SHOWN]
    words = f"{os.cpu_count()} x {cpu}; {platform.system()}; Python {platform.python_version()}; {'; '.join(versions)}"
    return "\n".join(textwrap.wrap(words, 120))


def _line(name: str, row: Row) -> str:
    peer = "" if row.peer is None else f"{row.peer:.3g}"
    least = "" if row.least is None else f"at least {row.least:g}"
    aim = "" if row.aim is None else f"aim {row.aim:g}"
    figures = f"{row.ours:10.3g} {peer:>10} {row.unit:4} {row.ratio:9.3g}x  {least:14} {aim:10} {row.error:8.1e}"
    return f"{name:44} {figures}  {row.peer_name}"


def _short(value: float) -> float:
    return float(f"{value:.4g}")


SETS: dict[str, Callable[[Callable[[str], bool]], Lines]] = {
    "hil": _hil,
    "firmware": _firmware,
    "kinematics": _kinematics,
    "fieldbus": _fieldbus,
    "opcua": _opcua,
}

if __name__ == "__main__":
    sys.exit(main())
