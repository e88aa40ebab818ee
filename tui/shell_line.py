"""The command lines that dialogs show and copy: they do the same from a shell, on the same configuration file."""

import os
import shlex
from pathlib import Path

from engine.config.effective import default_file

_WITH_A_FILE = frozenset(
    {"backup", "mount", "unmount", "plan", "points", "verify", "retain", "restore", "serve", "merge", "drill"}
    | {"reconcile", "doctor", "config password"}
)
"""Commands that read the configuration and take --config."""


def on_file(line: str, document: Path | None) -> str:
    """`line`, with --config where a shell's vcb would read another file than `document`."""
    words = line.split()
    takes = len(words) > 1 and (words[1] in _WITH_A_FILE or " ".join(words[1:3]) in _WITH_A_FILE)
    if document is None or not takes or "--config" in words or document == default_file(os.environ):
        return line
    return f"{line} --config {shlex.quote(str(document))}"
