"""The configuration file that is being edited: one document for form and raw view, its undo, its findings, its draft.

Pure: no widget, and no rule; everything that is said about a value comes from engine.config.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine.config import saving
from engine.config.check import check
from engine.config.difference import unified
from engine.config.document import Document, document_of
from engine.config.draft import Draft, Drafts
from engine.config.effective import settings_of
from engine.config.finding import Finding
from engine.config.history import History
from engine.config.options import Settings
from engine.config.text_edit import lines_of_text, with_lines
from engine.config.validity import errors_of
from engine.errors import ConfigError
from engine.state_directory import StateDirectory

_MOST_UNDONE = 500


class OpenConfig:
    """One file. `base` is what was read or saved last; `document` is what stands in the editor.

    `changed_names` are the options whose value differs from that of the base. `what` tells in a few words what was
    done since the last save, for the history.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], state: StateDirectory | None = None) -> None:
        """Raises ConfigError for what cannot be read or is neither .js nor .toml."""
        self.path, self._environ, self._state = path, environ, state
        data, self.base = saving.read(path)
        self.document: Document = document_of(data, path)
        self._undone: list[tuple[Document, str]] = []
        self._done: list[tuple[Document, str]] = []
        self._acts: list[str] = []
        self._refresh()

    @classmethod
    def opened(cls, path: Path, environ: Mapping[str, str] = os.environ) -> "OpenConfig":
        return cls(path, environ)

    @property
    def data(self) -> bytes:
        return self.document.to_bytes()

    @property
    def lines(self) -> list[str]:
        """What the raw view shows and `type_lines` takes."""
        return lines_of_text(self.document)

    @property
    def dirty(self) -> bool:
        return self.data != self.base.data or not self.base.exists

    @property
    def changed(self) -> bool:
        """Whether something would be lost by forgetting the editor."""
        return self.data != self.base.data

    @property
    def what(self) -> str:
        return " ".join(dict.fromkeys(self._acts)) or "edit"

    @property
    def history(self) -> History:
        return History(self.base.real, self._state)

    @property
    def drafts(self) -> Drafts:
        return Drafts(self.base.real, self._state)

    @property
    def findings_of_file(self) -> list[Finding]:
        """Those that are about this file, not about the environment."""
        return [finding for finding in self.findings if finding.file in ("", self.document.file)]

    @property
    def only_repaired(self) -> bool:
        """Whether all that was done since the last save is what `vcb config repair` does too."""
        return bool(self._acts) and set(self._acts) == {"repair"}

    def put(self, document: Document, what: str, *, joins: bool = False) -> bool:
        """Makes `document` the edited one; False when it is already. `joins` makes one step for undo of it and the act
        before, if that had the same `what` (typing)."""
        if document.to_bytes() == self.data:
            return False
        if not (joins and self._done and self._acts and self._acts[-1] == what):
            self._done.append((self.document, what))
            del self._done[:-_MOST_UNDONE]
            self._acts.append(what)
        self._undone.clear()
        self.document = document
        self._refresh()
        return True

    def set(self, name: str, text: str) -> bool:
        """Raises ConfigError."""
        return self.put(self.document.set(name, text), f"set {name}")

    def remove(self, name: str) -> bool:
        return self.put(self.document.remove(name), f"unset {name}")

    def type_lines(self, lines: Sequence[str], *, joins: bool) -> bool:
        """What the raw view holds now; see `put`. Raises ConfigError."""
        return self.put(with_lines(self.document, lines), "edit", joins=joins)

    def repair(self, finding: Finding) -> bool:
        return self.put(self.document.repair(finding), "repair")

    def undo(self) -> str:
        """Takes the last act back; before the first, goes to the version saved before this one. What was undone, or ""
        when there is nothing. Raises ConfigError for a history that cannot be read."""
        if self._done:
            document, what = self._done.pop()
            self._undone.append((self.document, what))
            self.document = document
            del self._acts[-1:]
            self._refresh()
            return what
        here = self.history.current(self.data)
        target = self.history.undo_target(here) if here else None
        if here is None or target is None:
            return ""
        return self._step(target.data, f"the save {here.number}: {here.what}")

    def redo(self) -> str:
        """Takes an undo back; "" when there is nothing."""
        if self._undone:
            document, what = self._undone.pop()
            self._done.append((self.document, what))
            self.document = document
            self._acts.append(what)
            self._refresh()
            return what
        here = None if self._done else self.history.current(self.data)
        target = self.history.redo_target(here) if here else None
        return self._step(target.data, f"the save {target.number}: {target.what}") if target else ""

    def _step(self, data: bytes, what: str) -> str:
        """To another saved version: no act of the session, the history itself leads back."""
        self.document = document_of(data, self.path)
        self._acts.append("undo")
        self._refresh()
        return what

    def restore(self, data: bytes, what: str) -> bool:
        """Puts other content into the editor, as one act that can be undone; nothing is written."""
        return self.put(document_of(data, self.path), what)

    def save(self, *, allow_invalid: bool = False) -> saving.Saved:
        """Raises what engine.config.saving.save raises."""
        saved = saving.save(
            self.path, self.data, base=self.base, allow_invalid=allow_invalid, what=self.what, state=self._state
        )
        self._settled(saved.base)
        return saved

    def save_data(self, data: bytes, base: saving.Base, *, allow_invalid: bool, what: str) -> saving.Saved:
        """Saves other content over another base: the ends of a conflict."""
        saved = saving.save(self.path, data, base=base, allow_invalid=allow_invalid, what=what, state=self._state)
        self.restore(data, what)
        self._settled(saved.base)
        return saved

    def take_theirs(self) -> None:
        """Reads the file again; what was in the editor can be had back by undo."""
        data, base = saving.read(self.path)
        self.restore(data, "read again")
        self._settled(base)

    def _settled(self, base: saving.Base) -> None:
        self.base = base
        self._acts.clear()
        self._refresh()

    def errors(self) -> list[Finding]:
        """What forbids to save it."""
        return errors_of(self.data, self.path)

    def difference(self) -> list[str]:
        return unified(self.base.data, self.data, self.path)

    def take_up_draft(self) -> Draft | None:
        """Puts the draft of this file into the editor, as one act that can be undone; None when there is none."""
        draft = self.drafts.taken_up(self.base.data)
        if draft is None:
            return None
        if draft.conflict:
            self.base = replace(self.base, data=draft.base)  # so that a save tells of the conflict
        return draft if self.restore(draft.data, "draft") else None

    def full_check(self) -> tuple[Document, list[Finding]]:
        """Also what the machine says; may wait for a file system, so not in the console's thread."""
        document = self.document
        return document, check(document, self._environ)

    def take_findings(self, document: Document, findings: list[Finding]) -> bool:
        """Takes the result of `full_check`, unless the document is another by now."""
        if document is not self.document or findings == self.findings:
            return False
        self.findings = findings
        return True

    def trial(self, name: str, text: str) -> str:
        """What would be wrong with this value, in sentences; "" for nothing. Cheap: called at each key press."""
        try:
            document = self.document.set(name, text)
        except ConfigError as error:
            return error.sentence
        found = [each for each in check(document, self._environ, machine=False) if name in each.options]
        before = {each.text for each in self.findings}
        errors = [each.text for each in found if each.severity == "error"]
        return " ".join(errors or [each.text for each in found if each.text not in before])

    def is_bad(self, name: str, text: str) -> bool:
        """Whether no run could read this value at all."""
        try:
            settings = settings_of(self.document.set(name, text), {})
        except ConfigError:
            return True
        return any(each.severity == "error" and name in each.options for each in settings.findings)

    def _refresh(self) -> None:
        self.settings: Settings = settings_of(self.document, self._environ)
        self.findings = check(self.document, self._environ, machine=False)
        self.values = self.document.values()
        old = document_of(self.base.data, self.path).values()
        names = {*self.values, *old}
        self.changed_names = {
            name
            for name in names
            if (name in old) != (name in self.values)
            or (name in old and name in self.values and old[name].value != self.values[name].value)
        }
