"""Keeping a password where `engine.config.secrets` finds it again: the keyring, or a file of the owner's alone."""

import os
import secrets
from pathlib import Path

from engine.config.options import Settings
from engine.config.secrets import LONGEST, service
from engine.errors import ConfigError
from engine.secret import Secret

_FILE_HINT = "Use --file FILE: a file of mode 0600, for PASSWORD_FILE."


def store_in_keyring(settings: Settings, password: Secret) -> str:
    """Stores it for HOST and USERNAME, replacing an older one; returns the keyring's name. Raises ConfigError when
    the machine has no keyring, or one that keeps passwords in the clear."""
    import keyring  # noqa: PLC0415 - slow to import, rarely needed
    from keyring.errors import KeyringError  # noqa: PLC0415

    backend = keyring.get_keyring()
    name = f"{type(backend).__module__}.{type(backend).__name__}"
    if "plaintext" in name.lower():
        raise ConfigError(f"the keyring of this machine ({name}) keeps passwords in the clear", hint=_FILE_HINT)
    try:
        keyring.set_password(service(settings), settings.USERNAME, password.reveal())
        kept = keyring.get_password(service(settings), settings.USERNAME)
    except KeyringError as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"the keyring does not take the password: {why}", hint=_FILE_HINT) from error
    if kept is None or Secret(kept) != password:
        raise ConfigError(f"the keyring of this machine ({name}) does not keep passwords", hint=_FILE_HINT)
    return name


def store_in_file(file: Path, password: Secret) -> Path:
    """Writes it as the file's only line, mode 0600, at once or not at all; returns the file really written, which is
    a link's target. Raises ConfigError."""
    if len(password.reveal().encode()) > LONGEST:
        raise ConfigError(f"the password is longer than {LONGEST} bytes")
    target = Path(os.path.realpath(file))
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(stream.fileno(), 0o600)
                stream.write(password.reveal().encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        _sync_directory(target.parent)
    except OSError as error:
        raise ConfigError(f"the password cannot be written: {error.strerror}", file=str(target)) from error
    return target


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
