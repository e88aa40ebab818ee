"""Settings on their way into another process: every value that is not a default, resolved, and where it came from;
never a secret."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from engine.config.options import OPTIONS, Origin, Settings
from engine.secret import Secret


def to_plain(settings: Settings) -> dict[str, Any]:
    """The tables `settings` and `origins`, of what TOML and JSON can hold."""
    chosen = {name: settings.value_of(name) for name in OPTIONS if not OPTIONS[name].secret}
    given = {name: value for name, value in chosen.items() if value is not None and value != OPTIONS[name].default}
    origins = {name: _origin(settings.origin(name)) for name in OPTIONS if settings.origin(name).kind}
    return {
        "settings": {name: _plain(name, value) for name, value in given.items()},
        "origins": {name: origin for name, origin in origins.items() if origin != {"kind": "default"}},
    }


def from_plain(shape: Mapping[str, Any]) -> Settings:
    """What `to_plain` made. Options that this version does not know are left out: a job of a newer version can still be
    listed. Raises KeyError, TypeError, ValueError or ConfigError for anything else."""
    values = shape["settings"]
    known = Settings.of(**{name: value for name, value in values.items() if name in OPTIONS})
    read = {name: known.value_of(name) for name in values if name in OPTIONS}
    return Settings(read, {name: _origin_of(each) for name, each in shape["origins"].items()})


class Passed(NamedTuple):
    """What the command line and the new process need: `words` for its arguments, `descriptors` to be inherited."""

    words: list[str]
    descriptors: list[int]


@contextmanager
def password_pipe(password: Secret | None) -> Iterator[Passed]:
    """A pipe with the password in it, which nobody else can read; nothing when there is none."""
    if password is None:
        yield Passed([], [])
        return
    reading, writing = os.pipe()
    try:
        os.write(writing, password.reveal().encode())  # at most 4096 bytes: a pipe takes them at once
        os.close(writing)
        yield Passed(["--password", str(reading)], [reading])
    finally:
        os.close(reading)


def with_password(settings: Settings, descriptor: int | None) -> Settings:
    """The settings with what the other end of `password_pipe` says. It comes once and never touches a disk."""
    if descriptor is None:
        return settings
    with os.fdopen(descriptor, "rb") as pipe:
        secret = Secret(pipe.read().decode())
    return settings.having("PASSWORD", secret, settings.origin("PASSWORD"))


def _plain(name: str, value: object) -> Any:
    """A value as TOML has it and `Option.read` takes back; a path is absolute, since the worker works elsewhere."""
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, (bool, int, float, str)):
        return value
    return list(value) if isinstance(value, tuple) else OPTIONS[name].text(value)


def _origin(origin: Origin) -> dict[str, Any]:
    where = {"file": str(origin.file), "line": origin.line, "column": origin.column} if origin.file else {}
    return {"kind": origin.kind, **where}


def _origin_of(shape: Mapping[str, Any]) -> Origin:
    file = Path(shape["file"]) if "file" in shape else None
    return Origin(shape["kind"], file, shape.get("line", 0), shape.get("column", 0))
