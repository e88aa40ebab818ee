"""What the machine says about the configuration today: directories, space, the modes of files.

Warnings, not errors: the file may be right, and the machine not ready yet. A run meets the same facts as errors.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.config.finding import Finding
from engine.config.option_types import size_text
from engine.config.options import Settings

_OPEN_TO_OTHERS = 0o077
_MEBIBYTE = 1 << 20


def probe(settings: Settings) -> list[Finding]:
    """Findings about BACKUPROOT, PASSWORD_FILE and CA_FILE as this user of this machine sees them."""
    return [*_backup_root(settings), *_password_file(settings), *_ca_file(settings)]


def _finding(settings: Settings, rule_id: str, option: str, text: str, fix: str) -> Finding:
    origin = settings.origin(option)
    file, line, column = (str(origin.file), origin.line, origin.column) if origin.file else ("", 0, 0)
    return Finding(rule_id, "warning", text, (option,), fix, file, line, column)


def _backup_root(settings: Settings) -> Iterator[Finding]:
    root = settings.BACKUPROOT
    try:
        mode = root.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        text = f"BACKUPROOT {root} does not exist; no job creates it."
        yield _finding(settings, "backuproot-missing", "BACKUPROOT", text, f"Run mkdir -p {root}.")
        return
    except OSError as error:
        text = f"BACKUPROOT {root} cannot be looked at: {error.strerror}."
        fix = "Run the check as the user that runs the backups."
        yield _finding(settings, "backuproot-missing", "BACKUPROOT", text, fix)
        return
    if not stat.S_ISDIR(mode):
        text = f"BACKUPROOT {root} is not a directory."
        yield _finding(settings, "backuproot-not-directory", "BACKUPROOT", text, "Name a directory.")
        return
    if not os.access(root, os.W_OK | os.X_OK):
        text = f"BACKUPROOT {root} cannot be written by this user."
        fix = "Give the user that runs the backups the right, or mount it read-write."
        yield _finding(settings, "backuproot-not-writable", "BACKUPROOT", text, fix)
    yield from _space(settings)


def _space(settings: Settings) -> Iterator[Finding]:
    root = settings.BACKUPROOT
    try:
        status = os.statvfs(root)
    except OSError:
        return  # it has answered as a directory just now; a run looks again
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    floor = settings.KEEP_FREE.bytes_of(total)
    if total and free <= floor:
        left = size_text(free // _MEBIBYTE * _MEBIBYTE) if free >= _MEBIBYTE else "nothing"
        text = f"BACKUPROOT {root} is full: {left} is free, and KEEP_FREE is {settings.KEEP_FREE}."
        yield _finding(settings, "backuproot-full", "BACKUPROOT", text, "Make space, or name another directory.")


def _password_file(settings: Settings) -> Iterator[Finding]:
    file = settings.PASSWORD_FILE
    if file is None:
        return
    yield from _unreadable(settings, "PASSWORD_FILE", file)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return  # told above
    if mode & _OPEN_TO_OTHERS:
        text = f"PASSWORD_FILE {file} may be read or changed by other users (mode {mode:04o})."
        yield _finding(settings, "password-file-mode", "PASSWORD_FILE", text, f"Run chmod 600 {file}.")


def _ca_file(settings: Settings) -> Iterator[Finding]:
    if settings.CA_FILE:
        yield from _unreadable(settings, "CA_FILE", settings.CA_FILE)


def _unreadable(settings: Settings, option: str, file: Path) -> Iterator[Finding]:
    if not file.is_file():
        yield _finding(settings, "file-missing", option, f"{option} {file} is not there.", "Name an existing file.")
    elif not os.access(file, os.R_OK):
        text = f"{option} {file} cannot be read by this user."
        yield _finding(settings, "file-unreadable", option, text, "Give the user that runs the backups the right.")
