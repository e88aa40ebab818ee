"""Lines of a job's log as a text file."""

import os
from pathlib import Path

from engine.errors import TargetError
from tui.models.journal_index import LAST, Filter, JournalIndex
from tui.models.log_row import Columns, Row


def save_lines(path: Path, directory: Path, shown: Filter, columns: Columns, bounds: tuple[int, int] | None) -> int:
    """Writes what `shown` lets through of the job in `directory`, between the numbers of `bounds`; returns how many
    lines. Never overwrites: raises TargetError when there is such a file, or it can't be written."""
    index = JournalIndex(directory)
    index.look()
    first, last = bounds or (1, LAST)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            count = 0
            for line in index.forward((first - 1, first - 1), shown):
                if line is not None and line.seq > last:
                    break
                if line is not None:
                    out.write(Row.of(line, columns).plain_text.rstrip() + "\n")
                    count += 1
    except FileExistsError as error:
        raise TargetError(f"{path} exists already: nothing was written.", hint="Give another name.") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror}.") from error
    return count
