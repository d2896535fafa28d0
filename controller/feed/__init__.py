"""The Feed: one stream of values and Events from the core to its faces, and their Requests back.

On a Unix socket of mode 0600, each frame a big-endian u32 length and that many bytes of msgpack:

    core to face   ["hello", schema, utc_ns, run]  ["snapshot", number, rows, utc_ns, at_ns, whole]
                   ["changes", number, rows, events, utc_ns, at_ns]
                   ["gap", number, lost, rows, since_utc_ns, until_utc_ns]  ["answer", request, ok, text, result, why]
                   ["wanted", wanted, block, kind, {args}]
    face to core   ["request", request, kind, {args}, user]
                   ["brings", request, blocks]  ["brought", rows, events]  ["done", wanted, state, text, result]
                   ["whole"]
    row            [index, value, quality 0 good 1 stale 2 bad, cause, utc_ns, at_ns, boot, node_ms]    values in SI
    event          [utc_ns, kind, subject, {fields}, at_ns, bound_ns, node, boot, node_ms, sequence]

Both sides derive the list of Signals, and its hash, from the same factory. For a slow reader the latest value of a
Signal wins, and Events are bounded: a gap says how many were lost. A face that says ["whole"] is given every publication
instead, in its order, from a snapshot on; for one that is too slow a gap says what was lost and from when to when, and a
snapshot follows.

A face may bring rows of its own: it claims blocks, `OWNER/GROUP`, and is the only one that brings them. The core takes rows of
blocks that are declared as brought (`controller.brought`), wants something of who brings them, and marks them when nobody does.
"""

from controller.feed.bringers import Bringers, NotBrought, block
from controller.feed.bringing import Bringing
from controller.feed.follower import FeedLost, Follower, ask_once, follow
from controller.feed.messages import Answered, Changes, Done, Gap, Hello, Message, Row, Snapshot, Told, Wanted, told
from controller.feed.server import Desk, Feed, serve
from controller.feed.signals import FeedSignal, feed_signals, schema_hash

__all__ = [
    "Answered",
    "Bringers",
    "Bringing",
    "Changes",
    "Desk",
    "Done",
    "Feed",
    "FeedLost",
    "FeedSignal",
    "Follower",
    "Gap",
    "Hello",
    "Message",
    "NotBrought",
    "Row",
    "Snapshot",
    "Told",
    "Wanted",
    "ask_once",
    "block",
    "feed_signals",
    "follow",
    "schema_hash",
    "serve",
    "told",
]
