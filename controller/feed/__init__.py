"""The Feed: one stream of values and Events from the core to its faces, and their Requests back.

On a Unix socket of mode 0600, each frame a big-endian u32 length and that many bytes of msgpack:

    core to face   ["hello", schema, utc_ns]  ["snapshot", number, rows]  ["changes", number, rows, events]
                   ["gap", number, lost]  ["answer", request, ok, text, result]
    face to core   ["request", request, kind, {args}, user]
    row            [index, value, quality 0 good 1 stale 2 bad, cause, utc_ns]    values in SI
    event          [utc_ns, kind, subject, {fields}]

Both sides derive the list of Signals, and its hash, from the same factory. For a slow reader the latest value of a
Signal wins, and Events are bounded: a gap says how many were lost.
"""

from controller.feed.follower import FeedLost, Follower, ask_once, follow
from controller.feed.messages import Answered, Changes, Gap, Hello, Message, Row, Snapshot, Told, told
from controller.feed.server import Desk, Feed, serve
from controller.feed.signals import FeedSignal, feed_signals, schema_hash

__all__ = [
    "Answered",
    "Changes",
    "Desk",
    "Feed",
    "FeedLost",
    "FeedSignal",
    "Follower",
    "Gap",
    "Hello",
    "Message",
    "Row",
    "Snapshot",
    "Told",
    "ask_once",
    "feed_signals",
    "follow",
    "schema_hash",
    "serve",
    "told",
]
