"""History: every Sample and Event of a factory, packed, in one folder; one writer, one door for questions.

    kept.py       Kept (what is kept of a Signal: type, unit, rule, bound), qualities, Samples (arrays), errors
    hot.py        Hot: the writer's end. hot.sqlite: a journal of commits, packed blocks, Events, the catalogue of segments
    writer.py     Writer: Hot in a thread of its own, one commit each 100 ms for all that has come
    cold.py       Parquet segments for what is old: cool(hot, before_ns), settle(hot)
    forgetting.py forget(hot, before_ns);  setback.py: set_back(hot, now_ns, step_ns), after the clock was ahead
    door.py       Door: raw, at, aggregate, events, signals, gaps; any process, beside the writer
    squeeze.py    deadband and swinging door;  block.py, bits.py: packed blocks;  journal.py: one commit's blob

The writer's end, times in UTC nanoseconds (kept to whole microseconds):

    hot = Hot(folder)                                       # folder/hot.sqlite, folder/cold/*.parquet; one writer: a file lock
    numbers = hot.declare([Kept("oven/status/bed", float, "CEL", bound=0.05), ...])          # path -> number
    samples = hot.samples([(number, utc_ns, value, quality, cause), ...])                    # value None: a gap
    done = hot.commit(samples, events=[Happened(utc_ns, kind, subject, fields)], until_ns=utc_ns)
                                                            # on return all of it is safe from a power cut: acknowledged
    hot.lost(from_ns, to_ns, cause)                         # nothing was recorded in between: shown as a gap of every Signal
    if hot.due: hot.fold()                                  # the journal becomes blocks (deadband, swinging door)
    cool(hot, before_ns); forget(hot, before_ns); hot.size(); hot.shrink(); hot.close()

    writer = Writer(folder); writer.declare(...)            # the same in a thread
    future = writer.offer(rows, events, until_ns)           # a concurrent Future of Done: acknowledged; None: no room, counted
    writer.resume()                                         # what failed with HistoryFull is offered again from here on
    future = writer.ask(lambda hot: cool(hot, before_ns))   # anything else, in the thread's turn

The door, which needs no writer to be there:

    door = Door(folder)
    door.signals() -> {path: Kept}
    door.raw(path, from_ns, to_ns) -> Series                # times, values, qualities, causes; a gap is a row of quality NONE
    door.at(path, time_ns) -> Point | None
    door.aggregate(path, from_ns, to_ns, every_ns) -> Windows    # average, minimum, maximum, count, first, last, total, good_s
    door.events(from_ns, to_ns, kind=None, subject=None) -> list[Happened]
    door.gaps(from_ns, to_ns) -> list[Missing]              # spans in which nothing was recorded, with the cause
"""

FOLDER = "history"
"""Its folder below that of a factory's state."""
