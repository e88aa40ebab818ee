"""The writing end of the terminal."""

import os
import threading


class TerminalOutput:
    """A text file for Textual's writer thread that knows what has left the process. A terminal that is gone takes
    everything in silence: the app learns of its end from its input."""

    def __init__(self, descriptor: int, charset: str) -> None:
        self._descriptor = descriptor
        self._charset = charset
        self._gone = False
        self._announced = 0
        self._written = 0
        self._progress = threading.Condition()

    def announce(self) -> None:
        """One more `write` is on its way."""
        with self._progress:
            self._announced += 1

    def drained(self) -> bool:
        """Whether all writes announced have been made."""
        return self._written == self._announced

    def wait(self, seconds: float) -> None:
        """Until drained, `seconds` at most."""
        with self._progress:
            self._progress.wait_for(self.drained, seconds)

    def write(self, text: str) -> int:
        data = memoryview(text.encode(self._charset, "replace"))
        try:
            while data and not self._gone:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self._gone = True
        with self._progress:
            self._written += 1
            self._progress.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)
