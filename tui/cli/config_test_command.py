"""vcb config test: whether the settings lead to a server that takes backups."""

from tui.cli.flags import Common, JsonFlag, unchecked_settings
from tui.cli.screen import Screen

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def try_connection(*, json: JsonFlag = False, common: Common = None) -> int:
    """Try the connection: is HOST reachable, its certificate approved, the login right, are privileges missing.

    Logs in exactly once and changes nothing. Exit code: 0 when it got in, 1 when not.
    """
    from engine.jobs.connection_check import steps  # noqa: PLC0415 - pyVmomi takes half a second

    screen = Screen(as_json=json)
    told = []
    for step in steps(unchecked_settings(common)):
        screen.line(f"{step.name}: {step.text}", _STYLES[step.state])
        if step.hint:
            screen.line(f"    {step.hint}")
        told.append(step.to_json())
    code = 1 if any(step["state"] == "failed" for step in told) else 0
    screen.result({"steps": told, "exit_code": code})
    return code
