"""vcb config password: keeps the password of the backup account in the keyring or in a file of mode 0600."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.config import password_store
from engine.config.integrated_logon import is_integrated
from engine.config.options import Settings
from engine.config.secrets import service
from engine.errors import ConfigError
from engine.reporter import silent
from engine.secret import Secret
from tui.cli.flags import Common, JsonFlag, question, unchecked_settings
from tui.cli.hidden_input import ask_twice, read_line
from tui.cli.screen import Screen


def password(
    *,
    file: Path | None = None,
    stdin: Annotated[bool, Parameter(negative=())] = False,
    test: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Ask for the password of USERNAME at HOST, twice and unseen, and keep it in the keyring or in a file.

    It goes where it is looked for: into PASSWORD_FILE where that is set, else into the keyring.

    Parameters
    ----------
    file
        Keep it in this file (mode 0600) instead; PASSWORD_FILE has to name it then.
    stdin
        Take the first line of standard input, once, instead of asking the terminal.
    test
        Log in with it first, once. What is refused is not stored.
    """
    screen = Screen(as_json=json)
    settings = _named(unchecked_settings(common))
    secret = read_line(sys.stdin.buffer) if stdin else ask_twice(question(settings))
    tested = _tested(screen, settings, secret) if test else None
    target = file or settings.PASSWORD_FILE
    if target:
        target = password_store.store_in_file(target, secret)
        screen.line(f"Stored in {target}, mode 0600.")
        stored: dict[str, Any] = {"stored": "file", "file": str(target)}
    else:
        keyring = password_store.store_in_keyring(settings, secret)
        screen.line(f"Stored in the keyring ({keyring}) as {service(settings)}, {settings.USERNAME}.")
        stored = {"stored": "keyring", "service": service(settings), "username": settings.USERNAME}
    remarks = list(_remarks(settings, target))
    for remark in remarks:
        screen.line(remark, "yellow")
    screen.result({**stored, "tested": tested, "remarks": remarks})
    return 0


def _named(settings: Settings) -> Settings:
    """The settings, when they say whose password it is. Raises ConfigError."""
    for name in ("HOST", "USERNAME"):
        if not settings.value_of(name):
            raise ConfigError(f"{name} is not set, so whose password it is nobody knows", hint=f"Add --{name.lower()}.")
    if is_integrated(settings.USERNAME):
        raise ConfigError(f"USERNAME {settings.USERNAME} is integrated logon, which has no password to keep")
    return settings


def _tested(screen: Screen, settings: Settings, secret: Secret) -> str:
    """The server's name for the user. Raises LoginError and whatever else keeps a session from opening."""
    from engine.flow.job import open_session  # noqa: PLC0415 - pyVmomi takes half a second

    with open_session(settings.but(PASSWORD=secret), silent(), None) as session:
        screen.line(f"{settings.HOST} accepts it, and knows the user as {session.user_name}.")
        return session.user_name


def _remarks(settings: Settings, target: Path | None) -> list[str]:
    """What still stands between the stored password and a job that uses it."""
    if settings.PASSWORD:
        return [f"PASSWORD is set ({settings.origin('PASSWORD')}) and overrides what was stored: remove it there."]
    if target and settings.PASSWORD_FILE is None:
        return [f"Set PASSWORD_FILE to {target}: nothing points there yet."]
    if target and settings.PASSWORD_FILE and not _same(settings.PASSWORD_FILE, target):
        return [f"PASSWORD_FILE is {settings.PASSWORD_FILE}, not {target}: set it."]
    return []


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
