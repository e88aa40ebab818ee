"""Where the password comes from. It is never taken from a command line (CVE-2008-2101)."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.config.options import Settings
from engine.errors import ConfigError
from engine.secret import Secret

CREDENTIAL = "vcb-password"
"""Name of the systemd credential (LoadCredential=vcb-password:...)."""


def password_for(
    settings: Settings, prompt: Callable[[], str] | None = None, environ: Mapping[str, str] = os.environ
) -> Secret:
    """The password, from the first source that has one: PASSWORD, PASSWORD_FILE, the systemd credential, the
    keyring (entry `vcb:HOST`, USERNAME), `prompt`. Raises ConfigError when none has, or a file is open to others.
    """
    if settings.PASSWORD:
        return settings.PASSWORD
    if settings.PASSWORD_FILE:
        return _from_file(settings.PASSWORD_FILE, "PASSWORD_FILE")
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / CREDENTIAL
        if credential.exists():
            return _from_file(credential, f"systemd credential {CREDENTIAL}")
    if secret := _from_keyring(settings):
        return secret
    if prompt and (answer := prompt()):
        return Secret(answer)
    raise ConfigError(
        f"there is no password for {settings.USERNAME} at {settings.HOST}",
        hint="Set PASSWORD_FILE to a file of mode 0600, or store one with "
        f"`keyring set {_service(settings)} {settings.USERNAME}`.",
    )


def _from_file(file: Path, source: str) -> Secret:
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(4096)
    except OSError as error:
        raise ConfigError(f"the {source} cannot be read: {error.strerror}", file=str(file)) from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise ConfigError(
            f"other users may read the {source} (mode {mode})", file=str(file), hint=f"Run chmod 600 {file}."
        )
    try:
        line = data.decode("utf-8-sig").splitlines()[0] if data else ""
    except UnicodeDecodeError:
        raise ConfigError(f"the {source} is not a text in UTF-8", file=str(file)) from None
    if not line:
        raise ConfigError(f"the {source} has no password in its first line", file=str(file))
    return Secret(line)


def _from_keyring(settings: Settings) -> Secret | None:
    """None also when the machine has no keyring: a proxy usually has none, and the prompt comes next."""
    import keyring  # noqa: PLC0415 - slow to import, rarely needed
    from keyring.errors import KeyringError  # noqa: PLC0415

    try:
        found = keyring.get_password(_service(settings), settings.USERNAME)
    except KeyringError:
        return None
    return Secret(found) if found else None


def _service(settings: Settings) -> str:
    return f"vcb:{settings.HOST}"
