"""Copying from a terminal that may be at the other end of the world: OSC 52, in both forms that tmux lets through."""

import base64
import os
from collections.abc import Callable, Mapping

from engine.secret import redact

MOST = 74_000
"""Bytes. xterm takes 100,000 base64 characters, tmux and most others no more than that."""


def sequences(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """What makes the terminal copy `text`. tmux takes the plain form with `set-clipboard on`, and passes the wrapped
    one on with `allow-passthrough on`; GNU screen passes on what is wrapped in DCS."""
    code = base64.b64encode(text.encode("utf-8", "replace")).decode()
    plain = f"\x1b]52;c;{code}\a"
    if environ.get("TMUX"):
        return plain + "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        return f"\x1bP{plain}\x1b\\"
    return plain


def copy(text: str, write: Callable[[str], object], environ: Mapping[str, str] = os.environ) -> str:
    """Sends `text` to the terminal's clipboard, without secrets; returns what to tell the operator. No terminal answers
    whether it really copied, so the words promise nothing."""
    text = redact(text)
    size = len(text.encode("utf-8", "replace"))
    if size > MOST:
        return f"{size:,} bytes are more than terminals take ({MOST:,}): save them to a file instead."
    write(sequences(text, environ))
    where = " (in tmux: needs set-clipboard on)" if environ.get("TMUX") else ""
    return f"Sent to the terminal's clipboard{where}."
