"""What a process that knows a password must not leave behind when it dies."""

import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from engine.process_privacy import keep_memory_private
from engine.secret import Secret, redact


@contextmanager
def guarded() -> Iterator[None]:
    """From here on a crash leaves no core file, and nobody but root looks into the process; while the block runs, a
    thread's traceback shows no secret."""
    keep_memory_private()
    before = threading.excepthook
    threading.excepthook = _thread_failed
    try:
        yield
    finally:
        threading.excepthook = before


def know_misplaced(words: Sequence[str]) -> None:
    """Makes a password that was given as an argument known to `redact`: it is refused, and the refusal quotes it."""
    for word, following in pairwise((*words, "")):
        name, equals, value = word.removeprefix("--set=").partition("=")
        if name.lstrip("-").upper() == "PASSWORD" and (equals or word.startswith("-")):
            Secret(value or following)


def show_defect(error: BaseException) -> None:
    """A traceback on standard error, without the secrets that its messages may quote."""
    sys.stderr.write(redact("".join(traceback.format_exception(error))))


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        show_defect(failure.exc_value)
