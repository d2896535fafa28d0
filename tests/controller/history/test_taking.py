"""What the recorder makes of a Feed: samples at their times, what still held, gaps with their cause; time never goes back."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from controller.feed import Changes, Gap, Hello, Row, Snapshot, Told, feed_signals
from controller.history.bounds import kept
from controller.history.door import Door, Missing
from controller.history.hot import Hot, Size
from controller.history.kept import HistoryError, Rule
from controller.history.retention import DAY, HOUR, LEAST_KEPT, MB, Age, Reserve, Stand, decide
from controller.history.setback import set_back
from controller.history.taking import AWAY, SET, Portion, Taking
from tests.controller.factories import SHOP, shop
from twin.clock import MS, S
from twin.factory import FactoryError, parse
from twin.recording import Recording

FACTORY = shop()
SIGNALS = feed_signals(FACTORY)
AT = {signal.path: index for index, signal in enumerate(SIGNALS)}
KEPT = kept(FACTORY, SIGNALS)
NUMBERS = {signal.path: index + 1000 for index, signal in enumerate(SIGNALS)}
SPEED, PARTS, LINK = AT["belt-1/status/speed"], AT["belt-1/status/parts"], AT["node:belt-1/link"]
START = 1_700_000_000 * S


def row(index: int, value: float | str | None, at: int, quality: int = 0, cause: str = "") -> Row:
    return Row(index, value, quality, cause, START + at)


def changes(number: int, rows: Sequence[Row], at: int | None = None, events: Sequence[Told] = (), wall: int = 0) -> Changes:
    at = number * 100 * MS if at is None else at
    return Changes(number, list(rows), list(events), START + at + wall, at)


def begun(until: int = 0, rows: Sequence[Row] = ()) -> Taking:
    taking = Taking(SIGNALS, KEPT, NUMBERS, until)
    taking.take(Hello("x", START, START - S))
    taking.take(Snapshot(10, list(rows), START + S, S, True))
    return taking


def samples(portion: Portion) -> list[tuple[int, float, object]]:
    return [(number - 1000, (time - START) / S, value) for number, time, value, _, _ in portion.rows]


def test_a_sample_is_kept_at_the_time_at_which_it_was_true() -> None:
    taking = begun(rows=[row(SPEED, 0.1, -5 * S)])
    assert samples(taking.take(changes(11, [row(SPEED, 0.2, 1_094 * MS)]))) == [(SPEED, 1.094, 0.2)]


def test_before_a_line_goes_on_it_is_held_as_long_as_it_did_not_change() -> None:
    taking = begun(rows=[row(SPEED, 0.1, -5 * S), row(PARTS, 3, -5 * S)])
    for number in range(11, 50):
        assert not taking.take(changes(number, [])).rows
    found = taking.take(changes(50, [row(SPEED, 0.3, 4_990 * MS), row(PARTS, 4, 4_990 * MS)]))
    assert samples(found) == [(SPEED, 4.89, 0.1), (SPEED, 4.99, 0.3), (PARTS, 4.99, 4)], "a count holds by itself"
    assert KEPT[SPEED].way is Rule.LINE and KEPT[PARTS].way is Rule.EXACT


def test_an_old_value_that_is_doubted_now_is_kept_at_the_time_at_which_the_doubt_began() -> None:
    taking = begun()
    taking.take(changes(11, [row(SPEED, 0.2, 1_094 * MS)]))
    found = taking.take(changes(14, [row(SPEED, 0.2, 1_094 * MS, 1, "no reply for 250 ms")]))
    assert samples(found)[-1] == (SPEED, 1.4, 0.2) and found.rows[-1][3:] == (1, "no reply for 250 ms")


def test_what_was_too_fast_and_what_came_while_nobody_recorded_are_gaps_with_their_cause() -> None:
    taking = Taking(SIGNALS, KEPT, NUMBERS, START - 60 * S)
    hello = taking.take(Hello("x", START, START - S))
    assert hello.events[0].kind == "CoreStarted" and hello.events[0].fields == {"run": START - S}
    first = taking.take(Snapshot(10, [row(SPEED, 0.1, -5 * S)], START + S, S, True))
    assert first.missing == Missing(START - 60 * S, START + S, AWAY) and samples(first) == [(SPEED, 1.0, 0.1)]
    taking.take(changes(11, []))
    taking.take(Gap(50, 3, 70, START + 1200 * MS, START + 5 * S))
    after = taking.take(Snapshot(50, [row(SPEED, 0.4, 4 * S)], START + 5 * S, 5 * S, True))
    assert after.missing is not None and after.missing.from_ns == START + 1100 * MS
    assert "70 rows and 3 events" in after.missing.cause
    taking.gone("the core has gone")
    assert taking.take(Hello("x", START, START + 7 * S)).events[0].kind == "CoreStarted"
    again = taking.take(Snapshot(1, [row(SPEED, 0.4, 4 * S)], START + 9 * S, 0, True))
    assert again.missing == Missing(START + 5 * S, START + 9 * S, "the core has gone") and taking.lost == 70


def test_where_the_wall_clock_is_set_back_time_goes_on_and_lets_it_catch_up() -> None:
    taking, last = begun(), 0
    for number in range(11, 40_000):
        wall = 0 if number < 20 else -200 * S
        at = number * 100 * MS
        found = taking.take(changes(number, [Row(SPEED, number * 0.1, 0, "", START + at + wall - MS)], at, wall=wall))
        for _, time, *_ in found.rows:
            assert time > last
            last = time
    assert taking.until == START + at + wall, "200 s are made up for within 2000 s"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_is_set_forward_and_back_by_years_leaves_no_hole_and_no_future(tmp_path: Path, restarted: bool) -> None:
    hot, years = Hot(tmp_path), 12 * 365 * 24 * HOUR
    numbers = hot.declare(KEPT.values())
    taking = Taking(SIGNALS, KEPT, numbers, 0)

    def play(first: int, last: int, wall: int) -> None:
        for n in range(first, last):
            message = changes(n, [Row(SPEED, n * 0.1, 0, "", START + n * 100 * MS + wall)] if n % 50 else [], wall=wall)
            moved = taking.set_back(message)
            assert (moved is not None) == (n == 300)
            if moved is not None:
                taking.start(set_back(hot, *moved))
            found = taking.take(message)
            if found.missing is not None:
                hot.lost(found.missing.from_ns, found.missing.to_ns, found.missing.cause)
            hot.commit(hot.samples(found.rows), (), found.until)

    taking.take(Hello("x", START, START - S))
    taking.take(Snapshot(10, [row(PARTS, 3, -5 * S)], START + S, S, True))
    play(11, 200, 0)
    play(200, 300, years)
    assert hot.until_ns > START + years
    if restarted:
        hot.close()
        hot = Hot(tmp_path)
        taking = Taking(SIGNALS, KEPT, numbers, hot.until_ns)
        assert taking.set_back(Snapshot(1, [], START + 30 * S, 0, True)) == (START + 30 * S, None)
        taking.start(set_back(hot, START + 30 * S, None))
    else:
        play(300, 400, 0)
    door = Door(tmp_path)
    assert START + 29 * S < hot.until_ns < START + 41 * S and taking.until <= START + 41 * S
    assert all(gap.cause in (SET, AWAY, "not recorded") and gap.to_ns - gap.from_ns < S // 4 for gap in door.gaps())
    for at in (15, 25, 29):
        point = door.at("belt-1/status/speed", START + at * S)
        assert point is not None and point.value == pytest.approx(at, abs=0.11)
    told = door.at("belt-1/status/parts", START + 25 * S)
    assert told is not None and told.value == 3, "what stands still is said anew behind a gap"
    door.close()
    hot.close()


def test_an_event_keeps_all_that_is_known_of_its_time() -> None:
    told = Told(START + S, "NodeLatched", "belt-1", {"cause": "x"}, 900 * MS, 3 * MS, "belt-1", 7, 4_321, 5)
    (event,) = begun().take(changes(11, [], events=[told])).events
    times = {"at_ns": 900 * MS, "bound_ns": 3 * MS, "node": "belt-1", "boot": 7, "node_ms": 4_321, "sequence": 5}
    assert event.utc_ns == START + S and event.fields == {"cause": "x", "time": times}


def test_a_signal_is_kept_to_half_of_its_step_unless_the_factory_says_otherwise() -> None:
    assert KEPT[SPEED].bound == pytest.approx(0.05e-3) and KEPT[LINK].type is str
    bounds = '[history.bounds]\n"belt-1/status/speed" = 5\n"*/command/*" = 2\n'
    factory = parse(f'{SHOP.read_text()}\n[history]\nleave_out = ["node:*"]\n{bounds}', SHOP.parent)
    found = kept(factory, SIGNALS)
    assert found[SPEED].bound == pytest.approx(0.005) and found[AT["belt-1/command/speed"]].bound == pytest.approx(0.002)
    assert LINK not in found and found[AT["belt-1/command/run"]].bound == 0


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("keep_days = 0", "history.keep_days: must be a number from 0.01 to 36500, not 0"),
        ("keep_days = 1\ncold_after_h = 48", "history.cold_after_h: 48 is more than the 24 h that history.keep_days=1 keeps"),
        ("keep_mb = 1.5", "history.keep_mb: must be a whole number"),
        ("keep_month = 3", "history.keep_month: unknown key; allowed are keep_days"),
        ('leave_out = "node"', "history.leave_out: must be a list"),
        ('bounds = { "a/b" = -1 }', 'history.bounds."a/b": must be a number from 0'),
    ],
)
def test_settings_that_cannot_be_are_named(settings: str, complaint: str) -> None:
    with pytest.raises(FactoryError) as wrong:
        parse(f"{SHOP.read_text()}\n[history]\n{settings}\n", SHOP.parent)
    assert complaint in str(wrong.value)


def test_a_pattern_that_fits_nothing_and_a_bound_for_a_count_are_named() -> None:
    for settings, complaint in (
        ('leave_out = ["belt-9/*"]', "'belt-9/*' fits no Signal of shop"),
        ('bounds = { "belt-1/status/parts" = 1 }', "belt-1/status/parts is kept exactly; a bound of 1 has no meaning"),
    ):
        factory = parse(f"{SHOP.read_text()}\n[history]\n{settings}\n", SHOP.parent)
        with pytest.raises(HistoryError, match=complaint.replace("*", r"\*")):
            kept(factory, SIGNALS)


# ---- what gives way

NOW = START
PLAIN = Recording(keep_days=10, keep_mb=100, cold_after_h=24, reserve_mb=64)
LOTS = 10_000 * MB


def test_what_is_too_old_goes_and_what_is_old_cools() -> None:
    turn = decide(PLAIN, Size(MB, MB, NOW - 20 * 24 * HOUR), LOTS, 64 * MB, NOW, False)
    assert (turn.stand, turn.cool, turn.reserve) == (Stand.RECORDING, (NOW - 24 * HOUR) // DAY * DAY, True)
    assert turn.forget == (NOW - 240 * HOUR) // (10 * HOUR) * (10 * HOUR), "not a little every ten seconds"


def test_a_step_of_the_wall_clock_makes_nothing_old() -> None:
    day, ahead = 24 * HOUR, NOW + 12 * 365 * 24 * HOUR
    spans = ((NOW - 5 * day, NOW - 2 * day), (NOW - day, NOW), (ahead, ahead + HOUR))
    for size in (Size(MB, MB, NOW - 5 * day, None, spans), Size(20 * MB, 85 * MB, NOW - 5 * day, None, spans)):
        turn = decide(PLAIN, size, LOTS, 64 * MB, ahead + HOUR, False)
        assert turn.forget < NOW - 3 * day
    age = Age(spans, ahead + HOUR)
    assert age.of(NOW) == day + HOUR and age.of(NOW - 5 * day) == 6 * day + HOUR
    assert age.before(2 * HOUR) == ahead - HOUR and age.before(day + 2 * HOUR) == NOW - HOUR
    assert Age(spans, ahead + 40 * day).of(ahead) == day + HOUR, "nor one that is not recorded yet"


def test_what_is_too_large_loses_its_oldest_part() -> None:
    turn = decide(PLAIN, Size(20 * MB, 105 * MB, NOW - 100 * HOUR), LOTS, 64 * MB, NOW, False)
    assert NOW - 80 * HOUR < turn.forget < NOW - 75 * HOUR and turn.stand is Stand.RECORDING


def test_on_a_full_disk_history_gives_way_then_stops_and_goes_on_when_there_is_room_for_the_reserve_again() -> None:
    shedding = decide(PLAIN, Size(20 * MB, 60 * MB, NOW - 100 * HOUR), 30 * MB, 64 * MB, NOW, False)
    assert shedding.cool == 0, "what becomes Parquet is there twice for a while"
    assert shedding.stand is Stand.SHEDDING and shedding.forget > NOW - 60 * HOUR and shedding.reserve
    short = Size(5 * MB, 0, NOW - LEAST_KEPT // 2)
    hold = decide(PLAIN, short, 30 * MB, 64 * MB, NOW, False)
    assert hold.stand is Stand.SHEDDING and hold.forget <= NOW - 240 * HOUR, "the last hour is not given away"
    stopped = decide(PLAIN, short, 10 * MB, 64 * MB, NOW, False)
    assert stopped.stand is Stand.STOPPED and not stopped.reserve and "10 MB left" in stopped.cause
    assert decide(PLAIN, short, 74 * MB, 0, NOW, True).stand is Stand.STOPPED, "the reserve itself is no room"
    back = decide(PLAIN, short, 129 * MB, 0, NOW, True)
    assert back.stand is Stand.RECORDING and back.reserve


def test_the_reserve_takes_room_and_gives_it_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    assert reserve.held == 0 and reserve.hold(MB) and reserve.held >= MB
    reserve.release()
    assert reserve.held == 0

    def full(handle: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    assert not Reserve(tmp_path, full).hold(MB) and reserve.held == 0


def test_what_was_taken_is_read_back_as_it_was(tmp_path: Path) -> None:
    hot = Hot(tmp_path)
    taking = Taking(SIGNALS, KEPT, hot.declare(KEPT.values()), hot.until_ns)
    for message in (
        Snapshot(10, [row(SPEED, 0.1, -5 * S), row(LINK, "ours", 0)], START + S, S, True),
        *(changes(n, []) for n in range(11, 50)),
        changes(50, [row(SPEED, 0.3, 4_990 * MS)]),
        *(changes(n, []) for n in range(51, 60)),
    ):
        found = taking.take(message)
        assert not hot.commit(hot.samples(found.rows), found.events, found.until).refused
    hot.close()
    door = Door(tmp_path)
    for at, value in ((2.0, 0.1), (4.8, 0.1), (4.94, 0.2), (5.5, 0.3)):
        point = door.at("belt-1/status/speed", START + round(at * S))
        assert point is not None and isinstance(point.value, float) and abs(point.value - value) <= KEPT[SPEED].bound + 1e-9
    door.close()
