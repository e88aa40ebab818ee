"""A command that has a terminal of its own: what somebody types into it, and all that the terminal shows."""

import errno
import os
import pty
import select
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_on_terminal(command: list[str], environ: dict[str, str], dialogue: list[tuple[str, str]]) -> tuple[int, str]:
    """Answers each question (a part of what is shown) with a line; the exit code and everything shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(command[0], command, environ)
    shown, seen, questions = "", 0, list(dialogue)
    while True:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"the command neither ends nor speaks; it has shown: {shown}"
        try:
            data = os.read(terminal, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that the other side has ended
                raise
            break
        if not data:
            break
        shown += data.decode(errors="replace")
        if questions and questions[0][0] in shown[seen:]:
            seen = len(shown)
            os.write(terminal, (questions.pop(0)[1] + "\n").encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown
