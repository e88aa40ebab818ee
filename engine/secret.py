"""Values that must never be shown: passwords, session cookies, tickets.

A `Secret` keeps its value out of `repr`, tracebacks and events; `redact` is the second line of defence: it
takes every secret that this process holds or held lately, in the forms in which protocols carry it, out of a text.
Lately, not ever: a worker spends thousands of single-use tickets, and each event is searched for all that is known.
"""

import base64
import html
import json
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

MASK = "***"
_SHORTEST = 4
"""Shorter secrets are not searched for in texts: masking every `a` would hide the text and reveal the secret."""

_FEW = 32
"""So many forms are looked for one by one sooner than a text is cut into blocks."""

_REMEMBERED = 256
"""Secrets that nobody holds any more, but which a late message may still quote."""

_lock = threading.RLock()
_held: Counter[str] = Counter()
_released: deque[str] = deque()
"""One entry for each Secret that was collected. That may happen at any allocation, those of this module included, so a
finalizer only appends here (which is atomic); the books are changed under the lock."""
_departed: deque[str] = deque()
_forms: dict[str, frozenset[str]] = {}


class Secret:
    """One secret text. `reveal()` is the only way to its value; equality compares values."""

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        if len(value) >= _SHORTEST:
            _remember(value)
            weakref.finalize(self, _released.append, value).atexit = False

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not serialised")


class _Blocks:
    """Forms of at least `shortest` characters, found without looking for each: cut into blocks of `width`, a text that
    contains such a form has a whole block within the form's first `shortest` characters, wherever the form begins."""

    def __init__(self, width: int) -> None:
        self.width, self.shortest = width, 2 * width - 1
        self._forms: set[str] = set()
        self._by_block: dict[str, list[str]] = {}

    def add(self, form: str) -> None:
        self._forms.add(form)
        for block in self._first(form):
            self._by_block.setdefault(block, []).append(form)

    def discard(self, form: str) -> None:
        self._forms.discard(form)
        for block in self._first(form):
            self._by_block[block].remove(form)
            if not self._by_block[block]:
                del self._by_block[block]

    def near(self, text: str) -> set[str]:
        """The forms that the text may contain."""
        if len(self._forms) <= _FEW:
            return {form for form in self._forms if form in text}
        met = {text[at : at + self.width] for at in range(0, len(text), self.width)}
        return {form for block in met & self._by_block.keys() for form in self._by_block[block]}

    def _first(self, form: str) -> set[str]:
        return {form[at : at + self.width] for at in range(self.width)}


_BLOCKS = (_Blocks(8), _Blocks(4))
_short: set[str] = set()
"""The forms that are too short for blocks: each is searched for."""
_uses: Counter[str] = Counter()
"""Of how many values each form is one."""


def _index(form: str) -> None:
    _uses[form] += 1
    if _uses[form] == 1:
        blocks = _blocks_of(form)
        blocks.add(form) if blocks else _short.add(form)


def _unindex(form: str) -> None:
    _uses[form] -= 1
    if not _uses[form]:
        del _uses[form]
        blocks = _blocks_of(form)
        blocks.discard(form) if blocks else _short.discard(form)


def _blocks_of(form: str) -> _Blocks | None:
    return next((blocks for blocks in _BLOCKS if len(form) >= blocks.shortest), None)


def _remember(value: str) -> None:
    with _lock:
        _let_go()
        _held[value] += 1
        if value not in _forms:
            _forms[value] = _written_forms(value)
            for form in _forms[value]:
                _index(form)


def _let_go() -> None:
    """Values without a holder are searched for until enough younger ones have followed them. With the lock held."""
    while _released:
        value = _released.popleft()
        _held[value] -= 1
        if not _held[value]:
            del _held[value]
            _departed.append(value)
    while len(_departed) > _REMEMBERED:
        oldest = _departed.popleft()
        if oldest not in _held and oldest not in _departed:
            for form in _forms.pop(oldest, ()):
                _unindex(form)


def _written_forms(value: str) -> frozenset[str]:
    """The value as URLs, XML, JSON, Basic authentication, PowerShell and Python's own messages write it."""
    data, wide = value.encode("utf-8", "surrogateescape"), value.encode("utf-16-le", "surrogatepass")
    encoded = {
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        base64.b64encode(wide).decode(),
    }
    percent = {quote(data, safe=""), quote(data, safe="/"), quote_plus(data)}
    forms = {
        value,
        escape(value),
        html.escape(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(data)[2:-1],
        *encoded,
        *percent,
    }
    return frozenset(forms)


def redact(text: str) -> str:
    """The text with every known secret, in any form that a protocol gives it, replaced by `***`; of secrets that
    overlap nothing is left over."""
    if len(text) < _SHORTEST:
        return text
    spans = sorted(span for form in _candidates(text) for span in _spans(form, text))
    if not spans:
        return text
    parts, shown = [text[: spans[0][0]], MASK], spans[0][1]
    for start, end in spans[1:]:
        if start >= shown:
            parts += [text[shown:start], MASK]
        shown = max(shown, end)
    return "".join([*parts, text[shown:]])


def _candidates(text: str) -> set[str]:
    """The forms that may be in the text."""
    with _lock:
        _let_go()
        return {form for form in _short if form in text}.union(*(blocks.near(text) for blocks in _BLOCKS))


def _spans(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Where the form is, overlapping itself too."""
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)
