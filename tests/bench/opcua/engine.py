"""What subscriptions cost in themselves: `python -m tests.bench.opcua.engine`. No network, no cryptography, one process.

Prints µs of processor time per 10,000 notifications, from the commit to the encoded answer, and what creating items costs.
"""

import struct
import sys
import time
from pathlib import Path

import numpy as np
from asyncua.ua.ua_binary import struct_to_binary

sys.path.insert(0, str(Path(__file__).parents[2] / "controller" / "opcua" / "subscriptions"))
from stage import Stage, item

from controller.opcua.asked import Asked

CYCLES = 50


def publishing(subscriptions: int, items: int, queue: int = 1) -> tuple[float, float, float]:
    """µs per 10,000 notifications for putting the values, for the rest of it, and the longest commit in ms."""
    stage = Stage(items)
    clients = [stage.client(str(number)) for number in range(subscriptions)]
    sizes = []
    for client in clients:
        number = client.subscribe(100)
        for at in range(0, items, 1_000):
            create(client, number, stage.keys[at : at + 1_000], queue)
        client._reply = lambda asked, code, body: sizes.append(len(body))  # type: ignore[method-assign]
    rows, values = np.arange(items), np.zeros(items)
    put = published = longest = 0.0
    for cycle in range(1, CYCLES + 1):
        for client in clients:
            client.publish()
        stage.time.to(cycle * 100)
        values += 1
        started = time.process_time()
        stage.plane.put(rows, values, 0, cycle)
        done = time.process_time()
        stage.plane.commit(cycle)
        longest = max(longest, time.process_time() - done)
        stage.time.turn()
        put, published = put + done - started, published + time.process_time() - done
    told = sum(sizes) / 34
    return put / told * 1e10, published / told * 1e10, longest * 1e3


def create(client, subscription: int, keys: list[bytes], queue: int = 1) -> float:  # type: ignore[no-untyped-def]
    """Seconds that one CreateMonitoredItems takes."""
    body = b"".join(struct_to_binary(item(key, at, queue=queue)) for at, key in enumerate(keys))
    asked = Asked(client.session, 1, struct.pack("<IIi", subscription, 2, len(keys)) + body, 0, 0, client._reply, client._never)  # type: ignore[arg-type]
    started = time.process_time()
    client.stage.services["CreateMonitoredItems"](asked)
    return time.process_time() - started


def main() -> None:
    """Measure and print."""
    stage = Stage(1_000)
    client = stage.client()
    took = sorted(create(client, client.subscribe(), stage.keys) for _ in range(20))
    print(f"create 1,000 items: {took[10] * 1e3:.1f} ms (median), {took[0] * 1e3:.1f} ms (best)")
    for subscriptions, items, queue in ((1, 10_000, 1), (1, 10_000, 10), (1, 1_000, 1), (50, 1_000, 1)):
        put, published, longest = publishing(subscriptions, items, queue)
        print(
            f"{subscriptions} x {items} items, queue {queue}: {published:.0f} µs per 10,000 notifications, "
            f"putting the values {put:.0f} µs more; longest commit {longest:.1f} ms"
        )


if __name__ == "__main__":
    main()
