"""Lines of a configuration, and what is said about them, without a password, be the line broken or its name wrong."""

import re
from dataclasses import replace

from engine.config.finding import Finding
from engine.config.options import OPTIONS
from engine.secret import MASK, redact

_NAMES = "|".join(name for name, option in OPTIONS.items() if option.secret)
_SIMILAR = r"(?!PASSWORD_FILE\b)\w*(?:PASS|PASW|PWD)\w*"
_SECRET = re.compile(rf"(?i)(\b(?:{_NAMES}|{_SIMILAR})\b[\"']?\s*[=:]\s*)(\S.*)")
_SHOWN = 20
"""Sentences show the beginning of a long text; so many characters of it say that it is the same."""
_WORD = re.compile(r"[^\s\"'=;,]{2,}")


def masked(line: str) -> str:
    """The line with everything masked that may be a password's value."""
    return redact(_SECRET.sub(rf"\1{MASK}", line))


def covered(line: str) -> str:
    """As `masked`, with a star for each hidden character: for an editor, where columns must stay what they are."""
    shown = _SECRET.sub(lambda match: match[1] + "*" * len(match[2]), line)
    return shown if redact(shown) == shown else "*" * len(line)


def masked_finding(finding: Finding, line: str) -> Finding:
    """The finding about that line, with what the line hides hidden in its sentences too."""
    hidden = _SECRET.search(line)
    if hidden is None:
        return finding
    words = sorted(_WORD.findall(hidden[2]), key=len, reverse=True)
    text, fix = finding.text, finding.fix
    for word in words:
        pattern = re.compile(
            rf"(?<!\w){re.escape(word[:_SHOWN])}" + (r"[^\s\"']*" if len(word) > _SHOWN else r"(?!\w)")
        )
        if word.upper() not in OPTIONS:
            text, fix = pattern.sub(MASK, text), pattern.sub(MASK, fix)
    return replace(finding, text=redact(text), fix=redact(fix))
