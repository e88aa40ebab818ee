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
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

MASK = "***"
_SHORTEST = 4
"""Shorter secrets are not searched for in texts: masking every `a` would hide the text and reveal the secret."""

_REMEMBERED = 256
"""Secrets that nobody holds any more, but which a late message may still quote."""

_lock = threading.RLock()
_held: Counter[str] = Counter()
_released: deque[str] = deque()
"""One entry for each Secret that was collected. That may happen at any allocation, those of this module included, so a
finalizer only appends here (which is atomic); the books are changed under the lock."""
_departed: deque[str] = deque()
_forms: dict[str, set[str]] = {}
_longest_first: list[str] | None = None
_beginnings: dict[str, list[str]] = {}
"""The same forms by their first characters; none is shorter than `_SHORTEST`."""


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


def _remember(value: str) -> None:
    global _longest_first  # noqa: PLW0603 - the registry is the module's own
    with _lock:
        _let_go()
        _held[value] += 1
        if value not in _forms:
            _forms[value] = _written_forms(value)
            _longest_first = None


def _let_go() -> None:
    """Values without a holder are searched for until enough younger ones have followed them. With the lock held."""
    global _longest_first  # noqa: PLW0603
    while _released:
        value = _released.popleft()
        _held[value] -= 1
        if not _held[value]:
            del _held[value]
            _departed.append(value)
    while len(_departed) > _REMEMBERED:
        oldest = _departed.popleft()
        if oldest not in _held and oldest not in _departed and _forms.pop(oldest, None):
            _longest_first = None


def _written_forms(value: str) -> set[str]:
    """The value as URLs, XML, JSON, Basic authentication, PowerShell and Python's own messages write it."""
    data, wide = value.encode("utf-8", "surrogateescape"), value.encode("utf-16-le", "surrogatepass")
    encoded = {
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        base64.b64encode(wide).decode(),
    }
    percent = {quote(data, safe=""), quote(data, safe="/"), quote_plus(data)}
    return {
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


def redact(text: str) -> str:
    """The text with every known secret, in any form that a protocol gives it, replaced by `***`."""
    if len(text) < _SHORTEST:
        return text
    for form in _candidates(text):
        if form in text:
            text = text.replace(form, MASK)
    return text


def _candidates(text: str) -> list[str]:
    """The forms that may be in the text, the longest first. A short text (of events, nearly all) is looked up by its
    beginnings of forms, for a worker knows a thousand forms; in a long text it is quicker to search for each."""
    global _longest_first  # noqa: PLW0603
    with _lock:
        _let_go()
        if _longest_first is None:
            _longest_first = sorted(set().union(*_forms.values()), key=len, reverse=True)
            _beginnings.clear()
            for form in _longest_first:
                _beginnings.setdefault(form[:_SHORTEST], []).append(form)
        if len(text) > len(_longest_first):
            return _longest_first
        met = {text[at : at + _SHORTEST] for at in range(len(text) - _SHORTEST + 1)}
        found = [form for beginning in met if beginning in _beginnings for form in _beginnings[beginning]]
    return sorted(found, key=len, reverse=True)
