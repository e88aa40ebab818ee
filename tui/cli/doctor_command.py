"""vcb doctor: what a backup will need, looked at before it is needed; and the role that its account wants."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import ConfigError, PolicyError
from engine.reporter import Reporter
from tui.cli.flags import Common, JsonFlag, unchecked_settings, with_password
from tui.cli.job_commands import watched
from tui.cli.screen import Screen
from tui.figures import clean

_MARKS = {
    "ok": ("ok     ", "green"),
    "note": ("note   ", "cyan"),
    "warning": ("warning", "yellow"),
    "error": ("ERROR  ", "bold red"),
}
Spec = Annotated[str, Parameter(name="SPEC", help="VMs to be looked at too: their modes, privileges, CBT.")]


def doctor(
    *specs: Spec,
    measure: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    with_snapshot: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    role: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    create: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    restores: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    role_name: str = "vcb-console backup",
    yes: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Look at configuration, directories, trust, login, privileges, transports, CBT and leftovers.

    Exit code: 0 no errors (warnings are told), 1 errors, 2 wrong settings, 130 cancelled.

    Parameters
    ----------
    measure
        Also read a sample of each VM named, in every mode that would work: 5 s or 256 MiB at most for a mode and
        datastore. Nothing is changed for it, so some modes can't be measured of a running VM, which is told.
    with_snapshot
        With --measure: of a snapshot made for it and removed again, in every mode.
    role
        Instead: print the exact role for these settings, and what the sample role of VCB lacks.
    create
        With --role: create it in vCenter, after a yes.
    restores
        With --role: with what vcb restore needs.
    role_name
        The name of the role to be created.
    yes
        Do not ask.
    """
    if with_snapshot and not measure:
        raise ConfigError("--with-snapshot says how to measure, and belongs to --measure")
    screen, settings = Screen(as_json=json), unchecked_settings(common)
    if role or create:
        return _role(screen, settings, name=role_name if create else "", restores=restores, yes=yes)
    settings = with_password(settings) if settings.HOST else settings
    from engine.flow.doctor import Measuring, examine  # noqa: PLC0415 - pyVmomi takes half a second

    how = Measuring.WITH_SNAPSHOT if with_snapshot else Measuring.AS_IT_IS if measure else Measuring.NO
    found = watched(
        screen, settings, lambda report, cancel: list(examine(settings, specs, report, cancel, measuring=how))
    )
    rows = [each.to_json() for each in found]
    screen.show(lines(rows))
    errors = sum(row["health"] == "error" for row in rows)
    warnings = sum(row["health"] == "warning" for row in rows)
    screen.line(f"{errors} errors, {warnings} warnings", "bold red" if errors else "bold green")
    code = 1 if errors else 0
    screen.result({"result": "failure" if errors else "success", "exit_code": code, "checks": rows})
    return code


def lines(rows: list[dict[str, Any]]) -> Iterator[Text]:
    """One finding each, with what to do about it below."""
    for row in rows:
        word, style = _MARKS[row["health"]]
        yield Text.assemble((word, style), "  ", (clean(row["about"]), "bold"), f": {clean(row['text'])}")
        if row["hint"] and row["health"] != "ok":
            yield Text(f"           {clean(row['hint'])}", "dim")


def _role(screen: Screen, settings: Settings, *, name: str, restores: bool, yes: bool) -> int:
    from engine.flow.job import open_session  # noqa: PLC0415
    from engine.vsphere import roles  # noqa: PLC0415

    needed = roles.needed(
        policy=settings.SNAPSHOT_POLICY,
        transports=[settings.TRANSPORT_MODE, *settings.TRANSPORT_FALLBACK],
        tracking=settings.CHANGE_TRACKING,
        restores=restores,
    )
    for privilege, steps in needed.items():
        screen.line(f"{privilege:<50} {', '.join(steps)}")
    settings = with_password(settings) if settings.HOST else settings

    def look(report: Reporter, cancel: CancelToken) -> frozenset[str] | None:
        session = open_session(settings, report, None)
        try:
            return next((each.privileges for each in roles.roles(session) if each.name == roles.SAMPLE_ROLE), None)
        finally:
            session.close()

    def make(report: Reporter, cancel: CancelToken) -> int:
        session = open_session(settings, report, None)
        try:
            return roles.create(session, name, needed)
        finally:
            session.close()

    sample = watched(screen, settings, look) if settings.HOST else None
    lacking = [] if sample is None else [privilege for privilege in needed if privilege not in sample]
    if sample is not None:
        screen.line(f"The sample role {roles.SAMPLE_ROLE} lacks {len(lacking)} of these:", "bold")
        for privilege in lacking:
            screen.line(f"    {privilege}", "yellow")
    made = None
    if name and _confirmed(name, len(needed), yes=yes):
        made = watched(screen, settings, make)
        screen.line(f"Role {name} is made. Assign it to {settings.USERNAME} at the root, with propagation.", "green")
    privileges = {privilege: list(steps) for privilege, steps in needed.items()}
    screen.result({"privileges": privileges, "sample_role_lacks": lacking, "role_id": made, "role": name or None})
    return 0


def _confirmed(name: str, count: int, *, yes: bool) -> bool:
    """Raises ConfigError when nobody is there to ask, PolicyError when the answer is no."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError("creating a role wants a confirmation, and nobody is here to give it", hint="Add --yes.")
    print(f"Create the role {clean(name)} with {count} privileges? Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise PolicyError("Not confirmed; no role was created.")
    return True
