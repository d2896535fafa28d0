"""Whether our counting client counts right: node-opcua's client looks at the same items at the same time."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.bench.opcua.served import NODE_MODULES, ROOT, Server, tied

ITEMS, DURATION_S = 100, 5.0
EDGE = 5
"""Rounds at either end that one of the two may have seen in part."""


def modules() -> Path:
    """Where node-opcua's client is."""
    there = ROOT / "tests/node_modules"
    return there if (there / "node-opcua-client").exists() else NODE_MODULES


def checked(server: Server) -> dict[str, Any]:
    """How many notifications both counted of the rounds that both saw whole; a round is a value."""
    server.stand(False)
    pki, nodes = server.state / "pki", server.nodes[:ITEMS]
    script = ["node", str(Path(__file__).parent / "counting.js"), server.url, str(pki), str(round(DURATION_S + 1)), *nodes]
    environment = {**os.environ, "LOCKSTEP_BENCH_MODULES": str(modules())}
    other = subprocess.Popen(tied(script, None), cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        ours = server.ask("changes", nodes=nodes, duration_s=DURATION_S, warm_s=0.5, by_generation=True)["counts"]
        told, _ = other.communicate(timeout=60)
    finally:
        other.kill()
        other.wait()
        server.stand(True)
    theirs = json.loads(told.splitlines()[-1])
    both = sorted(int(round_) for round_ in ours.keys() & theirs.keys())[EDGE:-EDGE]
    if not both:
        return {"same": False, "rounds": 0}
    mine, yours = (sum(counts.get(str(round_), 0) for round_ in range(both[0], both[-1] + 1)) for counts in (ours, theirs))
    same = all(ours.get(str(round_)) == theirs.get(str(round_)) for round_ in range(both[0], both[-1] + 1))
    return {"same": same, "rounds": both[-1] - both[0] + 1, "ours": mine, "node-opcua": yours}

