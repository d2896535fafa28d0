"""The two forms of a line, which make the same path of the same times, and what a path amounts to.

A path is, for each row (arrivals, then stations) and part, when its work starts and when it leaves: (rows, parts) [s].
Kernels and all they call stay in this file: see twin.kernel.
"""

import numpy as np

from twin.kernel import Floats, Ints, kernel

# Columns of the counts that an event-driven run keeps of each row.
_ROOM, _IDLE, _HEAD, _TAIL, _DONE_HEAD, _DONE_TAIL, _BASE = range(7)
COUNTS = 7
# Rows of what it knows of servers.
_FREE, _PART, _ROW = range(3)
SLOTS = 3
# Columns of the figures of a station, and of a replica.
WORKING, BLOCKED, DOWN, WAITED, STARTED, QUEUED = range(6)
FIGURES = 6
END, ENTERED, MADE, PASSAGE = range(4)
TOTALS = 4


@kernel
def recur(times: Floats, places: Ints, until: float, start: Floats, leave: Floats) -> None:
    """The path of a line of single servers by its max-plus recurrence, part after part.

    A part starts when it is there and its predecessor has left; it leaves when it is finished and there is a place: when
    the part that many places and one server before it has left the next row.

    Args:
        times: (rows, parts) [s].
        places: (rows,) before each row.
        until: no part enters later [s].
        start, leave: (rows, parts) [s], overwritten; infinite for parts that did not enter.
    """
    rows, parts = times.shape
    for i in range(parts):
        there = leave[0, i - 1] if i > 0 else 0.0
        if there > until:
            start[:, i:] = np.inf
            leave[:, i:] = np.inf
            break
        for row in range(rows):
            begun = there
            if i > 0 and leave[row, i - 1] > there:
                begun = leave[row, i - 1]
            start[row, i] = begun
            there = begun + times[row, i]
            if row + 1 < rows:
                earlier = i - places[row + 1] - 1
                if earlier >= 0 and leave[row + 1, earlier] > there:
                    there = leave[row + 1, earlier]
            leave[row, i] = there


@kernel
def _set(when: Ints, who: Ints, server: int, time: float) -> tuple[int, int]:
    """Say when a server is finished, in a tree of which each node holds the earliest of those below it.

    Times are there as their bits, which for numbers from 0 are in the same order; comparing them as integers takes a
    quarter of the time, and no branch depends on them, which nothing could predict. The lower server wins a tie.

    Returns:
        The earliest of all times, as its bits, and whose it is.
    """
    node, first = (when.shape[0] >> 1) + server, server
    earliest = int(np.float64(time).view(np.int64))
    when[node] = earliest
    while node > 1:
        other, rival = int(when[node ^ 1]), int(who[node ^ 1])
        loses = other < earliest + (node & 1)
        earliest = other if loses else earliest
        first = rival if loses else first
        node >>= 1
        when[node], who[node] = earliest, first
    return earliest, first


@kernel
def _lay_out(places: Ints, servers: Ints, counts: Ints, queue: Ints, slots: Ints, when: Ints, who: Ints) -> None:
    """All servers idle, those of the last row first, and none ever finished; all parts wait before the first row."""
    rows, parts = queue.shape[0] - 1, queue.shape[1]
    counts[:] = 0
    counts[0, _TAIL], counts[rows, _ROOM] = parts, parts
    for part in range(parts):
        queue[0, part] = part
    base = 0
    for row in range(rows - 1, -1, -1):
        counts[row, _BASE], counts[row, _IDLE] = base, servers[row]
        counts[row, _ROOM] = places[row] + servers[row]
        for server in range(servers[row]):
            slots[_FREE, base + server] = base + servers[row] - 1 - server
            slots[_ROW, base + server] = row
        base += servers[row]
    leaves = when.shape[0] >> 1
    when[:] = np.float64(np.inf).view(np.int64)
    for node in range(leaves):
        who[leaves + node] = node
    for node in range(leaves - 1, 0, -1):
        who[node] = who[2 * node]


@kernel
def happen(
    times: Floats, places: Ints, servers: Ints, until: float, start: Floats, leave: Floats,
    counts: Ints, queue: Ints, finished: Ints, slots: Ints, when: Ints, who: Ints,
) -> None:  # fmt: skip
    """The path of any line, event after event.

    At the same instant the station nearer to the exit comes first. Behind the last row is one more, the exit: it has room
    for all parts and no servers, and nothing is ever finished there, nor, as it is row -1 too, before the first row.

    Args:
        times: (rows, parts) [s].
        places, servers: (rows,) before and at each row.
        until: nothing later happens [s].
        start, leave: (rows, parts) [s], overwritten; infinite for what did not happen.
        counts: (rows + 1, 7) scratch.
        queue, finished: (rows + 1, parts) scratch: parts in the order in which they came, servers as they were finished.
        slots: (3, all servers) scratch: which are free, the part and the row of each.
        when, who: (2 n,) scratch, n the power of 2 that is not below the number of servers: the tree of what comes next.
    """
    rows, parts = times.shape
    start[:] = np.inf
    leave[:] = np.inf
    free, has, of = slots[_FREE], slots[_PART], slots[_ROW]
    _lay_out(places, servers, counts, queue, slots, when, who)
    earliest, over = int(when[1]), int(who[1])
    never, last = earliest, np.float64(until).view(np.int64)
    for part in range(min(servers[0], parts)):
        counts[0, _HEAD] += 1
        counts[0, _IDLE] -= 1
        server = free[counts[0, _BASE] + counts[0, _IDLE]]
        has[server], start[0, part] = part, 0.0
        earliest, over = _set(when, who, server, times[0, part])
    for _ in range(rows * parts):
        if earliest > last or earliest == never:
            break
        now = np.int64(earliest).view(np.float64)
        at = of[over]
        after = at + 1
        if counts[after, _ROOM] == 0:
            finished[at, counts[at, _DONE_TAIL]] = over
            counts[at, _DONE_TAIL] += 1
            earliest, over = _set(when, who, over, np.inf)
            continue
        # The part moves on, the next one takes its server, one that was blocked takes that one's place, and so on.
        server = over
        for _row in range(after):
            part = has[server]
            leave[at, part] = now
            counts[at, _ROOM] += 1
            counts[after, _ROOM] -= 1
            if counts[after, _IDLE] > 0:
                counts[after, _IDLE] -= 1
                idle = free[counts[after, _BASE] + counts[after, _IDLE]]
                has[idle], start[after, part] = part, now
                _set(when, who, idle, now + times[after, part])
            else:
                queue[after, counts[after, _TAIL]] = part
                counts[after, _TAIL] += 1
            if counts[at, _HEAD] < counts[at, _TAIL]:
                part = queue[at, counts[at, _HEAD]]
                counts[at, _HEAD] += 1
                has[server], start[at, part] = part, now
                earliest, over = _set(when, who, server, now + times[at, part])
            else:
                # An idle server is room, too, for a part that is blocked before it.
                free[counts[at, _BASE] + counts[at, _IDLE]] = server
                counts[at, _IDLE] += 1
                earliest, over = _set(when, who, server, np.inf)
            at, after = at - 1, at
            if counts[at, _DONE_HEAD] == counts[at, _DONE_TAIL]:
                break
            server = finished[at, counts[at, _DONE_HEAD]]
            counts[at, _DONE_HEAD] += 1


@kernel
def measure(
    times: Floats, down: Floats, start: Floats, leave: Floats, until: float, first: int, figures: Floats, totals: Floats
) -> None:
    """What a path amounts to between 0 and the end, which is `until` or, where that is infinite, when the last part leaves.

    Args:
        times, down, start, leave: (rows, parts) [s].
        first: row of the first station: 1 where row 0 is the arrivals.
        figures: (rows, 6) overwritten: server-seconds working, blocked and down; seconds waited before starting, by parts
            that started; their number; part-seconds in the buffer.
        totals: (4,) overwritten: the end [s]; parts that entered the line; that left it; seconds
            these spent in it, from their arrival.
    """
    rows, parts = times.shape
    end = until
    if not np.isfinite(until):
        end = 0.0
        for i in range(parts):
            end = max(end, leave[rows - 1, i])
    for row in range(rows):
        working, blocked, repairs, waited, started, queued = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(parts):
            begun = start[row, i]
            there = leave[row - 1, i] if row > 0 else begun
            if there > end:
                continue
            done = begun + times[row, i]
            worked = min(max(begun, done - down[row, i]), end)
            in_time = min(begun, end)
            working += worked - in_time
            repairs += min(done, end) - worked
            blocked += min(leave[row, i], end) - min(done, end)
            queued += in_time - there
            if begun <= end:
                waited += begun - there
                started += 1.0
        figures[row, WORKING], figures[row, BLOCKED], figures[row, DOWN] = working, blocked, repairs
        figures[row, WAITED], figures[row, STARTED], figures[row, QUEUED] = waited, started, queued
    entered, made, passage = 0.0, 0.0, 0.0
    for i in range(parts):
        arrived = start[0, i] + (times[0, i] if first else 0.0)
        if (leave[0, i] if first else arrived) <= end:
            entered += 1.0
        if leave[rows - 1, i] <= end:
            made += 1.0
            passage += leave[rows - 1, i] - arrived
    totals[END], totals[ENTERED], totals[MADE], totals[PASSAGE] = end, entered, made, passage


@kernel
def _ran_short(left: Floats, servers: int, until: float) -> bool:
    """Row 0 would have taken another part: as many as it has servers are in work, or it is idle."""
    count = 0
    for i in range(left.shape[0]):
        if left[i] <= until:
            count += 1
    return bool(count + servers > left.shape[0])


@kernel
def run(
    by_events: bool, shape: Ints, first: int, until: float,
    times: Floats, down: Floats, start: Floats, leave: Floats,
    counts: Ints, orders: Ints, slots: Ints, when: Ints, who: Ints,
    departures: Floats, figures: Floats, totals: Floats,
) -> bool:  # fmt: skip
    """Some replicas of a line, one after the other.

    Args:
        by_events: by events, else by the recurrence (single servers).
        shape: (2, rows) places before and servers at each row.
        first: row of the first station: 1 where row 0 is the arrivals.
        until: the end [s], infinite: until all parts have left.
        times, down: (replicas, rows, parts) [s].
        start, leave: (replicas, rows, parts) [s], overwritten.
        counts, orders, slots, when, who: scratch of `happen`; orders (2, rows + 1, parts) is queue and finished.
        departures: (replicas, parts) when each left the line [s], overwritten; infinite: not before the end.
        figures, totals: (replicas, rows, 6), (replicas, 4) as `measure` gives them; overwritten.

    Returns:
        Whether there were parts enough; if not, the results are of a line that ran out of them.
    """
    replicas, rows, parts = times.shape
    for i in range(replicas):
        if by_events:
            happen(
                times[i], shape[0], shape[1], until, start[i], leave[i],
                counts, orders[0], orders[1], slots, when, who,
            )  # fmt: skip
        else:
            recur(times[i], shape[0], until, start[i], leave[i])
        if np.isfinite(until) and _ran_short(leave[i, 0], shape[1, 0], until):
            return False
        measure(times[i], down[i], start[i], leave[i], until, first, figures[i], totals[i])
        for part in range(parts):
            out = leave[i, rows - 1, part]
            departures[i, part] = out if out <= until else np.inf
    return True
