"""`python -m tests.bench hil [--json] [--only METRIC …]`: how fast the rig is on this machine, now.

Each figure is {"ours": x, "ratio": y}: y is how many times better x is than what has to be reached at least, so 1 is just enough.
"""

import argparse
import json
import sys

from tests.bench import rig_speed

SETS = {"hil": rig_speed.METRICS}


def main() -> int:
    """Measure and print; 0 when everything asked for was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", metavar="METRIC", help="the beginning of its name is enough")
    given = parser.parse_args()
    found = {}
    for metric in SETS[given.set]:
        if given.only and not any(metric.name.startswith(only) for only in given.only):
            continue
        ours = metric.measure()
        ours = max(ours, 1e-6)
        ratio = ours / metric.least if metric.more_is_better else metric.least / ours
        found[metric.name] = {"ours": float(f"{ours:.4g}"), "ratio": float(f"{ratio:.3g}")}
        if not given.json:
            print(f"{metric.name:76} {ours:10.4g}   at least {metric.least:g}, aim {metric.aim:g}: {ratio:.2f} times", flush=True)
    if given.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
