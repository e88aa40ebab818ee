"""vcb reconcile: what dead jobs left behind, shown with its reasons, and taken away after a yes."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from engine.errors import ConfigError
from engine.events import ResultState
from tui.cli.flags import Common, JsonFlag, unchecked_settings, with_password
from tui.cli.job_commands import watched
from tui.cli.render import STATE_STYLES
from tui.cli.screen import Screen
from tui.figures import age, clean, share, size

_SECTIONS = (
    ("ours", "Left by dead jobs of this proxy; to be cleaned up in this order:", "bold"),
    ("running", "Of jobs that are running; never touched:", "cyan"),
    ("kept", "Stays on purpose:", "dim"),
    ("unproven", "Not provably ours, or not provably to go; never touched:", "yellow"),
    ("foreign", "Another proxy's; never touched:", "dim"),
    ("unchecked", "Could not be looked at:", "bold yellow"),
)

Row = dict[str, Any]


def reconcile(
    *,
    yes: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    adopt: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Find what dead jobs left behind (snapshots, export leases, directories), and take it away.

    Ledgers, BACKUPROOT and vCenter are compared. Shows what would be done and asks; without a terminal it only shows.
    Touches nothing but what is provably this proxy's, of a job that is dead.

    Exit code: 0 nothing is left, 3 something is left or could not be looked at, 1 nothing could be cleaned up, 2 wrong
    settings, 130 cancelled.

    Parameters
    ----------
    yes
        Do not ask: for scripts.
    adopt
        Moref of a backup snapshot that this proxy cannot prove to be its own: with this word it is removed too.
    """
    screen = Screen(as_json=json)
    settings = unchecked_settings(common)
    with suppress(ConfigError):  # without a vCenter, what is local is looked at; the reason is told there
        settings = with_password(settings)
    from engine.flow.reconcile import reconcile as engine  # noqa: PLC0415 - pyVmomi takes half a second

    def look(report: Any, cancel: Any) -> engine.Found:
        with engine.reconciling(settings, report, cancel, adopt=adopt) as work:
            return work.look()

    def clean_up(report: Any, cancel: Any) -> engine.Cleaned:
        with engine.reconciling(settings, report, cancel, adopt=adopt) as work:
            return work.clean(found.to_clean)

    found = watched(screen, settings, look)
    actions = {kind.kind: kind.action for kind in engine.KINDS}
    rows = [each.to_json() | {"action": actions[each.kind]} for each in found.shown]
    screen.show(listing(rows, found.unchecked))
    going = sum(row["verdict"] == "ours" for row in rows)
    done, state = engine.Cleaned(), found.state
    if found.to_clean and (not going or yes or _confirmed(screen, going)):
        done = watched(screen, settings, clean_up)
        state = _after(found, done)
    sentence = _sentence(going, done, found)
    screen.line(sentence, STATE_STYLES.get(state.value, ""))
    screen.result(
        {
            "result": state.value,
            "exit_code": state.exit_code,
            "sentence": sentence,
            "leftovers": rows,
            "unchecked": list(found.unchecked),
            **done.to_json(),
        }
    )
    return state.exit_code


def listing(rows: Sequence[Row], unchecked: Sequence[str]) -> Iterator[Text]:
    """One section for each verdict, the clean-up's order within."""
    for verdict, head, style in _SECTIONS:
        section = [row for row in rows if row["verdict"] == verdict]
        if section:
            yield Text(head, style)
        for row in section:
            yield from _lines(row)
    for sentence in unchecked:
        yield Text(f"warning: {clean(sentence)}", "yellow")


def _lines(row: Row) -> Iterator[Text]:
    yield Text(f"  {clean(row['text'])}")
    since = datetime.fromtimestamp(row["since"], UTC).isoformat() if row["since"] else ""
    facts = [row["why"], f"owner: {row['owner']}" if row["owner"] else "", age(since) if since else ""]
    yield Text(f"      {clean('; '.join(fact for fact in facts if fact))}", "dim")
    if row["delta_bytes"] is not None:
        room = f"; {row['datastore']} has {size(row['datastore_free_bytes'])} free" if row["datastore"] else ""
        left = share(row["datastore_free_bytes"], row["datastore_capacity_bytes"]) if room else ""
        yield Text(f"      delta {size(row['delta_bytes'])}{clean(room)}{f' ({left})' if left else ''}")
    if row["verdict"] == "ours":
        yield Text(f"      -> {row['action']}")


def _confirmed(screen: Screen, count: int) -> bool:
    """The operator's word, where somebody is there to give it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        screen.line("To clean up: vcb reconcile --yes")
        return False
    print(f"Clean up {count} in this order? Type yes to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _after(found: Any, done: Any) -> ResultState:
    """What could not be looked at keeps a clean-up from being a whole success."""
    unlooked = found.unchecked or any(each.verdict.value == "unchecked" for each in found.leftovers)
    return ResultState.EXCEPTIONS if done.state is ResultState.SUCCESS and unlooked else done.state


def _sentence(going: int, done: Any, found: Any) -> str:
    removed = sum(each.verdict.value == "ours" for each in done.removed)
    blind = " Not everything could be looked at." if found.unchecked else ""
    if done.failed or removed:
        return f"{removed} cleaned up, {len(done.failed)} left.{blind}"
    return (f"{going} left by dead jobs." if going else "Nothing is left by dead jobs.") + blind
