"""vcb config set, repair, convert, undo and redo: each shows what will change and asks before it writes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.config import saving
from engine.config.convert import convert as converted
from engine.config.difference import three_way_view, unified
from engine.config.document import Document, document_of, kind_of
from engine.config.effective import error_of
from engine.config.finding import Finding
from engine.config.history import History
from engine.config.merging import three_way
from engine.config.options import OPTIONS
from engine.config.validity import errors_of
from engine.errors import Cancelled, ConfigError, ConflictError
from engine.secret import redact
from tui.cli.config_reading import ConfigFile, diff_line, file_or_default
from tui.cli.findings_view import finding_lines
from tui.cli.flags import JsonFlag
from tui.cli.screen import Screen

Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Do not ask. For scripts.")]
AllowInvalid = Annotated[
    bool, Parameter(negative=(), help="Save a file that no run accepts; asks once more, or takes --yes for the answer.")
]


def set_options(
    file: Path,
    /,
    *pairs: Annotated[str, Parameter(name="NAME=VALUE")],
    unset: Annotated[tuple[str, ...], Parameter(negative=(), help="Take this option out. May be repeated.")] = (),
    yes: Yes = False,
    allow_invalid: AllowInvalid = False,
    json: JsonFlag = False,
) -> int:
    """Change options in a config.js or TOML file: only the values' bytes change, a commented-out line is enabled.

    Shows the change and asks; the change can be taken back with vcb config undo. A file that is not there is created.

    Parameters
    ----------
    file
        The file to change.
    pairs
        What to set, such as MAX_RETRIES=3. A list is separated by commas.
    """
    screen = Screen(as_json=json)
    changes = [_pair(text) for text in pairs]
    if not changes and not unset:
        raise ConfigError("there is nothing to set", hint="Give NAME=VALUE, or --unset NAME.")
    data, base = saving.read(file)
    document = document_of(data, file)
    for name, value in changes:
        document = document.set(name, value)
    for name in unset:
        document = document.remove(_name(name))
    what = " ".join([*(f"set {name}" for name, _ in changes), *(f"unset {_name(name)}" for name in unset)])
    return _Saving(screen, file, base, yes, allow_invalid).save(document.to_bytes(), what)


def repair(file: ConfigFile = None, /, *, yes: Yes = False, json: JsonFlag = False) -> int:
    """Make the repairs that vcb config check offers: those where only one thing can have been meant."""
    from engine.config.effective import settings_of  # noqa: PLC0415

    screen = Screen(as_json=json)
    path = file_or_default(file)
    data, base = saving.read(path)
    document: Document = document_of(data, path)
    made: list[str] = []

    def offered() -> Finding | None:
        return next((finding for finding in settings_of(document, {}).findings if finding.repair), None)

    while (finding := offered()) and len(made) < 10_000:
        document = document.repair(finding)
        made.append(f"line {finding.line}: {redact(finding.text)}")
    screen.show(diff_line(line) for line in made)
    # the file was invalid before: what is left of that does not forbid to make it better
    return _Saving(screen, path, base, yes, True, lenient=True).save(document.to_bytes(), "repair")


def convert(
    source: Path,
    target: Path,
    /,
    *,
    yes: Yes = False,
    allow_invalid: AllowInvalid = False,
    json: JsonFlag = False,
) -> int:
    """Write a config.js as TOML, or TOML as config.js, and tell what does not come along.

    Parameters
    ----------
    source
        The file to read; it stays as it is.
    target
        The file to write; its name ends with .toml or .js.
    """
    screen = Screen(as_json=json)
    kind = kind_of(target)
    data, base_of_source = saving.read(source)
    if not base_of_source.exists:
        raise ConfigError("the configuration file cannot be read: No such file or directory", file=str(source))
    result = converted(document_of(data, source), target, kind)
    for remark in result.remarks:
        place = f"{source}:{remark.line}: " if remark.line else ""
        screen.line(f"{place}{redact(remark.text)}", "yellow" if remark.lost else "")
    _, base = saving.read(target)
    remarks = [remark._asdict() | {"text": redact(remark.text)} for remark in result.remarks]
    more = {"source": str(source), "remarks": remarks}
    return _Saving(screen, target, base, yes, allow_invalid, more=more).save(
        result.data, f"converted from {source.name}"
    )


def undo(
    file: ConfigFile = None, /, *, yes: Yes = False, allow_invalid: AllowInvalid = False, json: JsonFlag = False
) -> int:
    """Make a file what it was before its last save; again, the one before that."""
    return _step(file, "undo", _Options(yes, allow_invalid, json))


def redo(
    file: ConfigFile = None, /, *, yes: Yes = False, allow_invalid: AllowInvalid = False, json: JsonFlag = False
) -> int:
    """Take a vcb config undo back."""
    return _step(file, "redo", _Options(yes, allow_invalid, json))


def forget(file: ConfigFile = None, /, *, yes: Yes = False, json: JsonFlag = False) -> int:
    """Remove the kept earlier versions of a file, and the passwords that stood in them; the file stays as it is.

    After that nothing can be undone.
    """
    screen = Screen(as_json=json)
    path = file_or_default(file)
    kept = History(saving.read(path)[1].real)
    if not yes:
        _ask(f"Remove all earlier versions of {path}?")
    forgotten = kept.forget()
    screen.line(f"The history of {path} is gone." if forgotten else f"There was no history of {path}.")
    screen.result({"file": str(path), "forgotten": forgotten})
    return 0


@dataclass(frozen=True)
class _Options:
    yes: bool
    allow_invalid: bool
    json: bool


def _step(file: Path | None, what: str, options: _Options) -> int:
    path = file_or_default(file)
    data, base = saving.read(path)
    kept = History(base.real)
    here = kept.current(data) if base.exists else None
    target = here and (kept.undo_target(here) if what == "undo" else kept.redo_target(here))
    act = saving.undo if what == "undo" else saving.redo
    work = _Saving(Screen(as_json=options.json), path, base, options.yes, options.allow_invalid)
    return work.save(target.data if target else data, what, lambda allowed: act(path, allow_invalid=allowed))


@dataclass
class _Saving:
    """One change of a file: shown, asked for, saved, told. `lenient` lets errors stay that were there before."""

    screen: Screen
    path: Path
    base: saving.Base
    yes: bool
    allow_invalid: bool
    lenient: bool = False
    more: dict[str, Any] | None = None

    def save(self, data: bytes, what: str, act: Callable[[bool], saving.Saved] | None = None) -> int:
        """Saves `data`, by `act` where that is not a plain save. Returns the exit code."""
        lines = unified(self.base.data, data, self.path)
        self.screen.show(diff_line(line) for line in lines)
        if lines:
            for caution in self.base.cautions:
                self.screen.line(caution, "yellow")
            invalid = self._may_be_invalid(data)
            if not self.yes:
                _ask(f"Save {self.path}?")
        else:
            invalid = True
        saved = self._saved(data, what, invalid, act)
        for note in saved.notes:
            self.screen.line(note, "yellow")
        told = f"Saved {saved.file}." if saved.written else f"{self.path} stays as it is: there is nothing to change."
        self.screen.line(told)
        self.screen.result(
            {
                "file": str(saved.file),
                "written": saved.written,
                "version": saved.version,
                "diff": lines,
                "notes": list(saved.notes),
                **(self.more or {}),
            }
        )
        return 0

    def _saved(self, data: bytes, what: str, invalid: bool, act: Callable[[bool], saving.Saved] | None) -> saving.Saved:
        try:
            if act:
                return act(invalid)
            return saving.save(self.path, data, base=self.base, allow_invalid=invalid, what=what)
        except ConflictError as conflict:
            return self._merged(conflict, what)

    def _merged(self, conflict: ConflictError, what: str) -> saving.Saved:
        """Shows what each has changed, and saves both if the operator wants it. Raises `conflict` where the changes
        overlap, or nobody can be asked."""
        if conflict.disk is None:
            raise conflict
        view = three_way(conflict.base, conflict.mine, conflict.disk)
        self.screen.show(diff_line(line) for line in three_way_view(view, self.path))
        data, base = saving.read(self.path)
        if view.merged is None or self.yes or not sys.stdin.isatty() or data != conflict.disk:
            raise conflict
        invalid = self._may_be_invalid(view.merged)
        _ask(f"Another program changed {self.path} meanwhile, in other lines. Save both changes as shown?")
        return saving.save(self.path, view.merged, base=base, allow_invalid=invalid, what=f"{what}, merged")

    def _may_be_invalid(self, data: bytes) -> bool:
        """Whether errors may be saved: the operator must have said so twice. Raises ConfigError where not."""
        errors = errors_of(data, self.path)
        if not errors:
            return False
        document = document_of(data, self.path)
        for error in errors:
            self.screen.show(
                finding_lines(
                    error, document.line, self.screen.width, self.screen.console if self.screen.live else None
                )
            )
        if self.lenient:
            return True
        if not self.allow_invalid:
            if self.yes or not sys.stdin.isatty():
                failure = error_of(errors)
                failure.hint = "Nothing was saved. To save it all the same, say --allow-invalid --yes."
                raise failure
            _ask("No run accepts this file so. Save it all the same?")
        return True


def _ask(question: str) -> None:
    """Returns for yes. Raises Cancelled for no, ConfigError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigError("nothing was saved: there is no terminal to ask", hint="Say --yes to save without asking.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was saved.")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f'"{redact(name)}" is no NAME=VALUE', hint="Such as MAX_RETRIES=3; put quotes around blanks.")
    name = _name(name)
    if name in OPTIONS and OPTIONS[name].secret:
        raise ConfigError(
            f"{name} cannot be given on the command line: every user of this machine sees it there (CVE-2008-2101)",
            hint="vcb config password asks for it, and keeps it in the keyring or in PASSWORD_FILE.",
        )
    return name, value


def _name(text: str) -> str:
    return text.strip().upper().replace("-", "_")
