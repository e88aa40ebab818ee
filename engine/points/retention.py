"""Which restore points of one VM stay and which go, and why: decisions only, nothing is touched.

The promises, whatever the rules say: the newest proven point stays; so does every point that one which stays needs;
nothing goes while the newest run of the VM failed, or while its newest point is not proven; and a rule that is given
a higher number never takes a point away.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from engine.config.options import Settings

Period = Callable[[datetime], tuple[tuple[int, ...], str]]
"""A time to its period: something to compare, and words."""


@dataclass(frozen=True, slots=True)
class Rules:
    """So many of each; all zero keeps everything."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        return cls(
            last=settings.KEEP_LAST,
            daily=settings.KEEP_DAILY,
            weekly=settings.KEEP_WEEKLY,
            monthly=settings.KEEP_MONTHLY,
            yearly=settings.KEEP_YEARLY,
        )

    @property
    def keep_everything(self) -> bool:
        return not any((self.last, self.daily, self.weekly, self.monthly, self.yearly))

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count, _ in _counted(self)) or "no KEEP_ option is set"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point as retention sees it. `flaw` tells why it is not proven, "" when it is; `needs` are the names of the
    points without which it cannot be read."""

    name: str
    created: datetime
    flaw: str = ""
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    name: str
    keep: bool
    reason: str
    needed_only: bool = False
    """No rule keeps it: it stays because another that stays can't be read without it."""


def decide(points: Sequence[Candidate], rules: Rules, *, hold: str = "", zone: tzinfo | None = UTC) -> list[Decision]:
    """A decision for each point, newest first; removing them from the newest on never leaves a point without what it
    needs. `hold`: why nothing may go now (its newest run failed). Days, weeks (ISO), months and years are those of
    `zone`; None is this machine's."""
    ordered = sorted(points, key=lambda point: (point.created, point.name), reverse=True)
    if not hold and rules.keep_everything:
        hold = f"{rules}: everything is kept"
    if not hold and ordered and ordered[0].flaw:
        hold = f"nothing goes while the newest point, {ordered[0].name}, is not proven: {ordered[0].flaw}"
    if hold:
        return [Decision(point.name, keep=True, reason=hold) for point in ordered]
    reasons = _chosen([point for point in ordered if not point.flaw], rules, zone)
    chosen = set(reasons)
    _keep_needed(ordered, reasons)
    return [
        replace(_decision(point, reasons.get(point.name), rules), needed_only=point.name in reasons.keys() - chosen)
        for point in ordered
    ]


def _decision(point: Candidate, reasons: list[str] | None, rules: Rules) -> Decision:
    if reasons:
        return Decision(point.name, keep=True, reason="; ".join(reasons))
    why = f"it is not proven ({point.flaw}), and newer ones are" if point.flaw else f"no rule keeps it: {rules}"
    return Decision(point.name, keep=False, reason=why)


def _chosen(proven: Sequence[Candidate], rules: Rules, zone: tzinfo | None) -> dict[str, list[str]]:
    """The reasons of the points that a rule keeps: of each period the newest. Periods without a point don't count."""
    reasons: dict[str, list[str]] = {}
    if proven:
        reasons[proven[0].name] = ["the newest proven point"]
    for place, point in enumerate(proven[: rules.last], 1):
        reasons.setdefault(point.name, []).append(f"KEEP_LAST {place} of {rules.last}")
    for name, count, period in _counted(rules):
        if period is None:
            continue
        seen: set[tuple[int, ...]] = set()
        for point in proven:
            key, words = period(point.created.astimezone(zone))
            if key not in seen and len(seen) < count:
                seen.add(key)
                reasons.setdefault(point.name, []).append(f"{name} {len(seen)} of {count} ({words})")
    return reasons


def _keep_needed(ordered: Sequence[Candidate], reasons: dict[str, list[str]]) -> None:
    """Adds what the kept points need, and what that needs, down to the full ones."""
    by_name = {point.name: point for point in ordered}
    todo = [point for point in reversed(ordered) if point.name in reasons]
    while todo:
        point = todo.pop()
        for name in sorted(point.needs & by_name.keys()):
            if name not in reasons:
                reasons[name] = [f"{point.name} needs it"]
                todo.append(by_name[name])


def _counted(rules: Rules) -> Iterator[tuple[str, int, Period | None]]:
    """The rules that are set; the one without a period counts points."""
    every: tuple[tuple[str, int, Period | None], ...] = (
        ("KEEP_LAST", rules.last, None),
        ("KEEP_DAILY", rules.daily, _day),
        ("KEEP_WEEKLY", rules.weekly, _week),
        ("KEEP_MONTHLY", rules.monthly, lambda at: ((at.year, at.month), f"{at:%Y-%m}")),
        ("KEEP_YEARLY", rules.yearly, lambda at: ((at.year,), f"{at.year}")),
    )
    yield from (rule for rule in every if rule[1])


def _day(at: datetime) -> tuple[tuple[int, ...], str]:
    return (at.year, at.month, at.day), f"{at:%Y-%m-%d}"


def _week(at: datetime) -> tuple[tuple[int, ...], str]:
    year, week, _ = at.isocalendar()
    return (year, week), f"{year}-W{week:02}"
