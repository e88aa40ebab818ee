"""vcb san: what this proxy found when it compared datastores' LUNs with what the hosts send."""

from dataclasses import asdict

from engine.flow.san_trust import SanTrust, SanTrusts
from engine.state_directory import StateDirectory
from tui.cli.flags import JsonFlag
from tui.cli.screen import Screen


def san(*, trust: str | None = None, json: JsonFlag = False) -> int:
    """List the datastores that were read over san, when their LUNs were last compared with the host, and which are
    disabled because they told other bytes.

    Parameters
    ----------
    trust
        Name or VMFS UUID of a datastore: a mismatch found on it is forgotten, and its next use over san is compared as
        the first is.
    """
    screen = Screen(as_json=json)
    trusts = SanTrusts(StateDirectory.default())
    if trust is not None:
        renewed = trusts.trust_again(trust)
        screen.line(f"san may be used for {renewed.name} again; its next use is compared as the first is.", "green")
    known = list(trusts.all())
    for each in known:
        screen.line(*_line(each))
    if not known:
        screen.line("No datastore was read over san by this proxy.", "dim")
    screen.result({"datastores": [asdict(each) for each in known]})
    return 0


def _line(trust: SanTrust) -> tuple[str, str]:
    if trust.mismatch:
        return f"{trust.name} ({trust.uuid}): DISABLED. {trust.mismatch}", "bold red"
    if trust.verified:
        return f"{trust.name} ({trust.uuid}): compared and equal at {trust.verified}", ""
    return f"{trust.name} ({trust.uuid}): to be compared at its next use", "yellow"
