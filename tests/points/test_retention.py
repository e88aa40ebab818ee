"""The promises of retention, for whatever points and rules hypothesis thinks of; and a calendar worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import given, strategies as st

from engine.config.options import Settings
from engine.points.retention import Candidate, Rules, decide

TIMES = st.datetimes(datetime(2019, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
COUNTS = st.integers(0, 6)
RULES = st.builds(Rules, last=COUNTS, daily=COUNTS, weekly=COUNTS, monthly=COUNTS, yearly=COUNTS)


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    """Points in the order of time; an incremental needs one or two older ones, and is as sound as those."""
    times = sorted(draw(st.lists(TIMES, max_size=25)))
    points: list[Candidate] = []
    for number, created in enumerate(times):
        older = [point.name for point in points]
        needs = draw(st.sets(st.sampled_from(older), max_size=2)) if older else set()
        flaw = draw(st.sampled_from(["", "", "", "a bit is wrong"]))
        if any(point.flaw for point in points if point.name in needs):
            flaw = flaw or "its parent is damaged"
        points.append(Candidate(f"p{number:03}", created, flaw, frozenset(needs)))
    return points


def kept(points: list[Candidate], rules: Rules, hold: str = "") -> list[Candidate]:
    names = {decision.name for decision in decide(points, rules, hold=hold) if decision.keep}
    return [point for point in points if point.name in names]


@given(histories(), RULES)
def test_every_point_is_decided_once_with_a_reason_newest_first(points: list[Candidate], rules: Rules) -> None:
    decisions = decide(list(reversed(points)), rules)
    assert [decision.name for decision in decisions] == [point.name for point in reversed(points)]
    assert all(decision.reason for decision in decisions)


@given(histories(), RULES)
def test_the_newest_proven_point_is_never_removed(points: list[Candidate], rules: Rules) -> None:
    proven = [point for point in points if not point.flaw]
    assert not proven or proven[-1] in kept(points, rules)


@given(histories(), RULES)
def test_what_a_kept_point_needs_is_kept(points: list[Candidate], rules: Rules) -> None:
    left = kept(points, rules)
    assert all(point.needs <= {other.name for other in left} for point in left)


@given(histories(), RULES)
def test_removed_from_the_newest_on_no_point_is_ever_without_its_parent(points: list[Candidate], rules: Rules) -> None:
    there = {point.name: point for point in points}
    for decision in decide(points, rules):
        if not decision.keep:
            del there[decision.name]
            assert all(point.needs <= there.keys() for point in there.values())


@given(histories(), RULES)
def test_a_held_vm_loses_nothing(points: list[Candidate], rules: Rules) -> None:
    assert kept(points, rules, hold="the newest run failed") == points
    assert kept(points, Rules()) == points


@given(histories(), RULES)
def test_nothing_goes_while_the_newest_point_is_not_proven(points: list[Candidate], rules: Rules) -> None:
    if points and points[-1].flaw:
        assert kept(points, rules) == points


@given(histories(), RULES, st.sampled_from(["last", "daily", "weekly", "monthly", "yearly"]))
def test_a_higher_number_never_takes_a_point_away(points: list[Candidate], rules: Rules, raised: str) -> None:
    if rules.keep_everything:
        return
    more = replace(rules, **{raised: getattr(rules, raised) + 1})
    assert {point.name for point in kept(points, rules)} <= {point.name for point in kept(points, more)}


@given(histories(), RULES)
def test_a_second_run_removes_nothing_more(points: list[Candidate], rules: Rules) -> None:
    once = kept(points, rules)
    assert kept(once, rules) == once


@given(histories(), st.integers(1, 30))
def test_by_count_exactly_that_many_proven_ones_are_chosen(points: list[Candidate], count: int) -> None:
    if points and points[-1].flaw:
        return
    chosen = [d for d in decide(points, Rules(last=count)) if d.keep and "KEEP_LAST" in d.reason]
    assert len(chosen) == min(count, sum(not point.flaw for point in points))


def daily(days: int) -> list[Candidate]:
    """A point at 02:15 of each of so many days before and with Sunday, 2026-11-22."""
    newest = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)
    return [Candidate(f"{newest - timedelta(day):%Y-%m-%d}", newest - timedelta(day)) for day in range(days)]


def test_a_calendar_by_hand() -> None:
    decisions = decide(daily(800), Rules(daily=3, weekly=3, monthly=3, yearly=5))
    reasons = {decision.name: decision.reason for decision in decisions if decision.keep}
    assert reasons == {
        "2026-11-22": "the newest proven point; KEEP_DAILY 1 of 3 (2026-11-22); KEEP_WEEKLY 1 of 3 (2026-W47); "
        "KEEP_MONTHLY 1 of 3 (2026-11); KEEP_YEARLY 1 of 5 (2026)",
        "2026-11-21": "KEEP_DAILY 2 of 3 (2026-11-21)",
        "2026-11-20": "KEEP_DAILY 3 of 3 (2026-11-20)",
        "2026-11-15": "KEEP_WEEKLY 2 of 3 (2026-W46)",
        "2026-11-08": "KEEP_WEEKLY 3 of 3 (2026-W45)",
        "2026-10-31": "KEEP_MONTHLY 2 of 3 (2026-10)",
        "2026-09-30": "KEEP_MONTHLY 3 of 3 (2026-09)",
        "2025-12-31": "KEEP_YEARLY 2 of 5 (2025)",
        "2024-12-31": "KEEP_YEARLY 3 of 5 (2024)",
    }
    gone = next(decision for decision in decisions if decision.name == "2026-11-19")
    assert gone.reason == "no rule keeps it: KEEP_DAILY 3, KEEP_WEEKLY 3, KEEP_MONTHLY 3, KEEP_YEARLY 5"


def test_days_are_those_of_the_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    points = [
        Candidate("monday-02:00", datetime(2026, 11, 22, 17, 0, tzinfo=UTC)),
        Candidate("sunday-23:00", datetime(2026, 11, 22, 14, 0, tzinfo=UTC)),
    ]
    assert [d.keep for d in decide(points, Rules(weekly=2), zone=UTC)] == [True, False]
    assert [d.keep for d in decide(points, Rules(weekly=2), zone=tokyo)] == [True, True]


def test_a_damaged_point_fills_no_slot() -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    points = [
        Candidate("c", at),
        Candidate("b", at - timedelta(hours=1), flaw="scsi0-0.vmdk is not what was written"),
        Candidate("a", at - timedelta(hours=2)),
    ]
    decisions = decide(points, Rules(last=2))
    assert [(d.name, d.keep) for d in decisions] == [("c", True), ("b", False), ("a", True)]
    assert "scsi0-0.vmdk is not what was written" in decisions[1].reason


def test_a_parent_is_kept_and_its_child_named() -> None:
    points = daily(3)
    points = [replace(point, needs=frozenset({older.name})) for point, older in pairwise(points)]
    decisions = decide([*points, daily(3)[2]], Rules(last=1))
    assert [d.reason for d in decisions][1:] == ["2026-11-22 needs it", "2026-11-21 needs it"]


def test_rules_come_from_the_options() -> None:
    assert Rules.of(Settings.of()).keep_everything
    rules = Rules.of(Settings.of(KEEP_LAST=1, KEEP_DAILY="2", KEEP_WEEKLY=3, KEEP_MONTHLY=4, KEEP_YEARLY=5))
    assert rules == Rules(1, 2, 3, 4, 5)
