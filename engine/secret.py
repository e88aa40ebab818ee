"""Values that must never be shown: passwords, session cookies, tickets.

A `Secret` keeps its value out of `repr`, tracebacks and events; `redact` is the second line of defence: it
takes every secret this process has ever held, and the forms in which protocols carry them, out of a text.
"""

import base64
import html
import json
import threading
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

MASK = "***"
_SHORTEST = 4
"""Shorter secrets are not searched for in texts: masking every `a` would hide the text and reveal the secret."""

_lock = threading.Lock()
_forms: dict[str, None] = {}


class Secret:
    """One secret text. `reveal()` is the only way to its value; equality compares values."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        if len(value) >= _SHORTEST:
            forms = _written_forms(value)
            with _lock:
                _forms.update(dict.fromkeys(forms))

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
    with _lock:
        forms = sorted(_forms, key=len, reverse=True)
    for form in forms:
        if form in text:
            text = text.replace(form, MASK)
    return text
