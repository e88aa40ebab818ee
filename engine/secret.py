"""Values that must never be shown: passwords, session cookies, tickets.

A `Secret` keeps its value out of `repr`, tracebacks and events; `redact` is the second line of defence: it
takes every secret this process has ever held, and the forms in which protocols carry them, out of a text.
"""

import base64
import threading
from urllib.parse import quote
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
            forms = {value, quote(value, safe=""), escape(value), base64.b64encode(value.encode()).decode()}
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


def redact(text: str) -> str:
    """The text with every known secret, in any form that a protocol gives it, replaced by `***`."""
    with _lock:
        forms = sorted(_forms, key=len, reverse=True)
    for form in forms:
        if form in text:
            text = text.replace(form, MASK)
    return text
