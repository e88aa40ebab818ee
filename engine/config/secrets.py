"""Where the password comes from. It is never taken from a command line (CVE-2008-2101)."""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.config.options import Origin, Settings
from engine.errors import ConfigError
from engine.secret import Secret

CREDENTIAL = "vcb-password"
"""Name of the systemd credential (LoadCredential=vcb-password:...)."""

PROMPTED = "prompt"
"""The origin of a password that somebody typed."""

LONGEST = 4096
"""Bytes of a password file's first line."""

_IN_ENVIRONMENT = "VCB_PASSWORD"
_OTHERS = 0o077
_OTHERS_OF_CREDENTIAL = 0o027
"""systemd gives a service's user its credential by an ACL, whose mask shows as the group's right to read."""

Prompt = Callable[[], str]


@dataclass(frozen=True)
class Found:
    """A password, and where it was found in an operator's words: `keyring entry vcb:HOST`."""

    secret: Secret
    origin: str


def password_for(settings: Settings, prompt: Prompt | None = None, environ: Mapping[str, str] = os.environ) -> Secret:
    """The secret of `find_password`."""
    return find_password(settings, prompt, environ).secret


def find_password(settings: Settings, prompt: Prompt | None = None, environ: Mapping[str, str] = os.environ) -> Found:
    """The password from the first source that has one: PASSWORD, PASSWORD_FILE, the systemd credential, the keyring
    (entry `vcb:HOST`, USERNAME), `prompt`. Integrated logon has none, and no source is asked.

    Raises ConfigError when there is none, or when a file is not only its owner's.
    """
    from engine.config.integrated_logon import is_integrated  # noqa: PLC0415 - it is for who logs on

    if is_integrated(settings.USERNAME):
        return Found(Secret(""), "integrated logon, which has no password")
    if settings.PASSWORD:
        return Found(settings.PASSWORD, _origin_of_option(settings))
    if file := settings.PASSWORD_FILE:
        return Found(_from_file(file, "PASSWORD_FILE", _OTHERS), f"PASSWORD_FILE {file}")
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / CREDENTIAL
        if credential.exists():
            name = f"systemd credential {CREDENTIAL}"
            return Found(_from_file(credential, name, _OTHERS_OF_CREDENTIAL), name)
    if secret := _from_keyring(settings):
        return Found(secret, f"keyring entry {service(settings)}")
    if prompt and (answer := prompt()):
        return Found(checked(answer, "the password"), PROMPTED)
    raise ConfigError(
        f"there is no password for {settings.USERNAME} at {settings.HOST}",
        hint="Store one with vcb config password: in the keyring, or with --file FILE for PASSWORD_FILE.",
    )


def with_password(settings: Settings, prompt: Prompt | None = None) -> Settings:
    """The settings with the password in them and its origin told. Raises ConfigError."""
    found = find_password(settings, prompt)
    if settings.PASSWORD or not found.secret:
        return settings
    return settings.having("PASSWORD", found.secret, Origin(found.origin))


def service(settings: Settings) -> str:
    """Name of the keyring's entry; its user name is USERNAME."""
    return f"vcb:{settings.HOST}"


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for processes that we start: ours without the password that may stand in it."""
    return {name: value for name, value in environ.items() if name != _IN_ENVIRONMENT}


def checked(text: str, source: str) -> Secret:
    """The text as a password. Raises ConfigError for what no login can carry: nothing, or control characters (XML
    cannot hold them, so that every server would refuse the whole request)."""
    if not text:
        raise ConfigError(f"{source} is empty")
    if any(ord(character) < 0x20 and character != "\t" for character in text) or "\x7f" in text:
        raise ConfigError(f"{source} has a control character in it, which no login can carry")
    return Secret(text)


def _origin_of_option(settings: Settings) -> str:
    origin = settings.origin("PASSWORD")
    if origin.file:
        return f"PASSWORD in {origin}"
    return f"{_IN_ENVIRONMENT} in the environment" if origin.kind == "environment" else origin.kind


def _from_file(file: Path, source: str, forbidden: int) -> Secret:
    """The first line of a file, without its end; spaces count. `forbidden` are the mode's bits that must not be set."""
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(LONGEST + 1)
    except OSError as error:
        raise ConfigError(f"the {source} cannot be read: {error.strerror}", file=str(file)) from error
    _demand_private(file, source, status, forbidden)
    line, newline, _ = data.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if len(data) > LONGEST and not newline:
        raise ConfigError(f"the {source} has a first line of more than {LONGEST} bytes", file=str(file))
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ConfigError(f"the {source} is not a text in UTF-8", file=str(file)) from None
    if not text:
        raise ConfigError(f"the {source} has no password in its first line", file=str(file))
    return checked(text, f"{file}: the password in the {source}")


def _demand_private(file: Path, source: str, status: os.stat_result, forbidden: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise ConfigError(
            f"other users may read the {source} (mode {mode:04o})", file=str(file), hint=f"Run chmod 600 {file}."
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"the {source} belongs to another user (uid {status.st_uid}), who can read and change it",
            file=str(file),
            hint=f"Run chown {os.geteuid()} {file}, or run vcb as its owner.",
        )


def _from_keyring(settings: Settings) -> Secret | None:
    """None also when the machine has no keyring: a proxy usually has none, and the prompt comes next."""
    import keyring  # noqa: PLC0415 - slow to import, rarely needed
    from keyring.errors import KeyringError  # noqa: PLC0415

    try:
        found = keyring.get_password(service(settings), settings.USERNAME)
    except KeyringError:
        return None
    return checked(found, f"the keyring entry {service(settings)}") if found else None
