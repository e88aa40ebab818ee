"""What the pane "Job log" offers: its commands, their keys, their help."""

from engine.loglevel import LogLevel
from tui.commands import Command
from tui.models.marks import LEVEL_NAMES

_LEVEL_HELP = (
    "Shows only failures that end a job, and results.",
    "Shows what failed, too, where the job went on.",
    "Shows warnings, retries and skipped disks, too.",
    "Shows stages and disks, too: what VCB showed.",
    "Shows every step and decision, too, with its reason.",
    "Shows calls of the vSphere API and their tasks, too.",
    "Shows everything: wire traffic and progress, too.",
)


def _motion(name: str, title: str, keys: tuple[str, ...], method: str = "", argument: int | None = None) -> Command:
    return Command(f"job_log.{name}", title, f"{title}.", keys, method=method, argument=argument, hidden=True)


COMMANDS: tuple[Command, ...] = (
    Command(
        "job_log.search",
        "Search the log",
        "Looks for a regular expression, from here upward; upper and lower case are one, unless it has upper case.",
        ("slash",),
        footer="Search",
    ),
    Command("job_log.next_match", "Next match", "Goes to the next line below that matches.", ("n",)),
    Command("job_log.previous_match", "Previous match", "Goes to the next line above that matches.", ("N",)),
    Command("job_log.next_error", "Next error", "Goes to the next error below.", ("e",)),
    Command(
        "job_log.previous_error",
        "Previous error",
        "Goes to the next error above: from the end of a log, to the last one.",
        ("E",),
        footer="Error",
    ),
    Command(
        "job_log.follow",
        "Follow the log",
        "Goes to the end and stays there. Moving up stands still; the title then counts what has come.",
        ("f", "end", "G"),
        footer="Follow",
    ),
    *(
        Command(
            f"job_log.level_{int(level)}",
            f"Show up to level {int(level)}, {LEVEL_NAMES[level]}",
            _LEVEL_HELP[level],
            (str(int(level)),),
            method="level",
            argument=int(level),
            footer="All" if level == LogLevel.WIRE else "",
        )
        for level in LogLevel
    ),
    Command(
        "job_log.loudness",
        "Record everything, or as before",
        "Raises the LOGLEVEL that the running job records to 6 from here on, and back again: 0 to 6 show no more than "
        "is recorded. The job does not stop.",
        ("L",),
        footer="LOGLEVEL",
    ),
    Command("job_log.time", "Relative or absolute times", "Shows times of day, or since the start of the job.", ("t",)),
    Command("job_log.wrap", "Wrap long lines", "Wraps long lines, or cuts them; left and right then move.", ("w",)),
    Command(
        "job_log.fold",
        "Fold this stage",
        "Folds the stage of the line at the cursor to its last line and what went wrong in it, or unfolds it.",
        ("o",),
    ),
    Command("job_log.fold_all", "Fold all stages", "Folds every stage, or unfolds all.", ("O",)),
    Command(
        "job_log.vm", "One VM or all", "Shows the lines of one VM of the job, then of the next, then of all.", ("v",)
    ),
    Command("job_log.disk", "One disk or all", "Shows the lines of one disk, then of the next, then of all.", ("d",)),
    Command("job_log.detail", "The whole event", "Shows the event at the cursor with all its fields.", ("enter",)),
    Command(
        "job_log.mark",
        "Mark from here",
        "Marks lines from the cursor on, for copying and saving; Esc unmarks.",
        ("m", "space"),
    ),
    Command(
        "job_log.copy",
        "Copy",
        "Copies the marked lines, or the one at the cursor, to the clipboard of your terminal (OSC 52).",
        ("y",),
    ),
    Command(
        "job_log.save",
        "Save to a file",
        "Writes the marked lines, or all that the filters show, to a new file.",
        ("s",),
    ),
    Command(
        "job_log.jobs", "List of jobs", "Shows the jobs that run and ran; Enter shows one here.", ("J",), footer="Jobs"
    ),
    Command("job_log.older_job", "Older job", "Shows the job before this one.", ("less_than_sign",)),
    Command("job_log.newer_job", "Newer job", "Shows the job after this one.", ("greater_than_sign",)),
    Command(
        "job_log.cancel",
        "Cancel the job",
        "Asks, and then tells the running job to undo what it did and end.",
        ("c",),
        danger=True,
        footer="Cancel",
    ),
    Command("job_log.leave", "Stop searching", "Stops a search, unmarks, and shows everything again.", ("escape",)),
    _motion("up", "One line up", ("up", "k"), "move", -1),
    _motion("down", "One line down", ("down", "j"), "move", 1),
    _motion("page_up", "One page up", ("pageup", "ctrl+u"), "page", -1),
    _motion("page_down", "One page down", ("pagedown", "ctrl+d"), "page", 1),
    _motion("home", "To the first line", ("home", "g")),
    _motion("left", "Text to the left", ("left",), "slide", -16),
    _motion("right", "Text to the right", ("right",), "slide", 16),
)
