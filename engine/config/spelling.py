"""How a file writes names and values: what another spelling would say better, or say at all.

Works on any `Document`: it needs the bytes and where the entries stand.
"""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.edits import Edit, Entry
from engine.config.finding import Finding, Repair, Severity
from engine.config.option_types import ChoiceListOption, ChoiceOption, Option, close_to
from engine.config.options import OPTIONS

if TYPE_CHECKING:
    from engine.config.document import Document

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_BARE_NUMBER = re.compile(r"[+-]?[0-9]")
_CERTAIN = 0.85
"""Similarity (difflib's) from which a single candidate is what was meant: TRANSPORTMODE, PASWORD; not HOSTNAME."""
_BARE_KINDS = ("number", "size", "floor")
"""Kinds of options whose values may stand without quotes."""


def spelling(document: "Document") -> list[Finding]:
    """Names that are no option's (errors), and names and values in another form than the option table's."""
    return list(_Speller(document).findings())


class _Speller:
    def __init__(self, document: "Document") -> None:
        self.document = document
        self.data = document.to_bytes()
        self.values = document.values()

    def findings(self) -> Iterator[Finding]:
        for name, entry in self.values.items():
            option = OPTIONS.get(name)
            if option is None:
                yield self.unknown(name, entry)
            elif self.readable(option, entry.value):
                yield from self.quotes(option, entry)
                yield from self.case(option, entry)

    def unknown(self, name: str, entry: Entry) -> Finding:
        rule = "name-case" if name.upper() in OPTIONS else "unknown-option"
        close = [name.upper()] if rule == "name-case" else close_to(name, list(OPTIONS))
        certain = [option for option in close if _similarity(name, option) >= _CERTAIN]
        repair = None
        if len(certain) == 1 and certain[0] not in self.values and self.readable(OPTIONS[certain[0]], entry.value):
            repair = self.replaced(f"write {certain[0]}", entry.name_span, certain[0])
        fix = f"write {close[0]}" if close else "take it out"
        text = f"{name} is not an option{f'; did you mean {close[0]}?' if close else ''}"
        return Finding(rule, "error", text, (name,), fix, self.document.file, entry.line, entry.name_column, repair)

    def quotes(self, option: Option[Any], entry: Entry) -> Iterator[Finding]:
        literal = self.literal(entry)
        if option.kind == "number" and literal[:1] in ('"', "'") and _NUMBER.fullmatch(entry.value):
            text = f"{option.name} is a number, and its value stands in quotes"
            repair = self.replaced("take the quotes away", entry.span, entry.value)
            yield self.finding("quoted-number", "note", text, option=option, entry=entry, repair=repair)
        elif option.kind not in _BARE_KINDS and _BARE_NUMBER.match(literal):
            text = f"{option.name} is a text, and its value stands without quotes"
            same = literal == entry.value  # 0x10 is read as 16: which of the two was meant is not certain
            repair = self.replaced("put quotes around it", entry.span, f'"{entry.value}"') if same else None
            yield self.finding("unquoted-text", "warning", text, option=option, entry=entry, repair=repair)

    def case(self, option: Option[Any], entry: Entry) -> Iterator[Finding]:
        if not isinstance(option, (ChoiceOption, ChoiceListOption)):
            return
        words = entry.value.split(",") if isinstance(option, ChoiceListOption) else [entry.value]
        wrong = [word.strip() for word in words if word.strip() != word.strip().lower()]
        if not wrong:
            return
        literal = self.literal(entry)
        mended = literal
        for word in wrong:
            mended = re.sub(rf"\b{re.escape(word)}\b", word.lower(), mended)
        right = ", ".join(word.lower() for word in wrong)
        text = f"{option.name} is written {', '.join(wrong)}; it is read as {right}"
        repair = self.replaced(f"write {right}", entry.span, mended) if mended != literal else None
        yield self.finding("value-case", "note", text, option=option, entry=entry, repair=repair)

    def finding(
        self, rule: str, severity: Severity, text: str, *, option: Option[Any], entry: Entry, repair: Repair | None
    ) -> Finding:
        fix = repair.text if repair else "write it as it is meant, in quotes"
        file = self.document.file
        return Finding(rule, severity, text, (option.name,), fix, file, entry.line, entry.column, repair)

    def literal(self, entry: Entry) -> str:
        return self.data[slice(*entry.span)].decode(self.document.encoding)

    def replaced(self, text: str, span: tuple[int, int], new: str) -> Repair:
        return Repair.of(self.data, text, Edit(*span, new.encode(self.document.encoding)))

    def readable(self, option: Option[Any], value: str) -> bool:
        try:
            option.read(value, Path())
        except ValueError:
            return False
        return True


def _similarity(name: str, option: str) -> float:
    return SequenceMatcher(None, name.upper(), option).ratio()
