"""The command `vcb`: which word runs what, and how every run ends in an exit code.

0 success, 1 failure, 2 usage or configuration, 3 completed with exceptions, 130 cancelled. Commands are imported when
they run: pyVmomi alone takes longer than all the rest.
"""

import os
import sys
from collections.abc import Sequence

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from engine import __version__
from engine.errors import VcbError
from tui.cli.console_command import console, on_a_terminal
from tui.cli.interrupt import endings_raise
from tui.cli.privacy import guarded, know_misplaced, show_defect
from tui.cli.screen import Screen, safe_streams

USAGE_ERROR = 2
CANCELLED = 130
DEFECT = 1

_COMMANDS = {
    "demo": ("tui.cli.demo:demo", "A whole backup against an embedded vSphere: nothing to set up."),
    "inventory": ("tui.cli.inventory:inventory", "List VMs, their disks, what is skipped and why."),
    "plan": ("tui.cli.job_commands:plan", "Show what a backup would do, without doing it."),
    "backup": ("tui.cli.job_commands:backup", "Snapshot, export, verify, restore point, snapshot removed."),
    "mount": ("tui.cli.job_commands:mount", "Export a VM and leave it mounted, for another software's pre script."),
    "unmount": ("tui.cli.job_commands:unmount", "The pair of mount, for the post script."),
    "restore": ("tui.cli.restore_commands:restore", "A point back: local files, or a new VM."),
    "files": ("tui.cli.files_commands:files", "Files inside a point: list, take out, or stream as tar."),
    "serve": ("tui.cli.serve_command:serve", "The disks of a point over NBD, read-only."),
    "jobs": ("tui.cli.job_control_commands:jobs", "List the jobs that run, and those that ran."),
    "log": ("tui.cli.job_control_commands:log", "Show a job's log, and follow it."),
    "attach": ("tui.cli.job_control_commands:attach", "Show a running job as if it had been started here."),
    "resume": ("tui.cli.job_commands:resume", "Go on where a backup stopped whose worker died."),
    "cancel": ("tui.cli.job_control_commands:cancel", "Cancel a running job cleanly."),
    "loglevel": ("tui.cli.job_control_commands:loglevel", "Change what a running job records."),
    "points": ("tui.cli.points_commands:points", "List restore points, their chains, and when they were proven."),
    "verify": ("tui.cli.points_commands:verify", "Read points back from the medium and tell all that is wrong."),
    "drill": ("tui.cli.drill_command:drill", "Rehearse a restore: rebuild, and check the file systems inside."),
    "retain": ("tui.cli.points_commands:retain", "Remove the points that no KEEP_ option keeps, and say why."),
    "reconcile": ("tui.cli.reconcile_command:reconcile", "What dead jobs left behind: show it, and take it away."),
    "doctor": ("tui.cli.doctor_command:doctor", "What a backup will need, looked at before; and the role for vCenter."),
    "trust": ("tui.cli.trust_commands:trust", "The certificates that were approved: list, approve, forget."),
    "san": ("tui.cli.san_command:san", "Which datastores san may read, and which it was caught wrong on."),
    "merge": ("tui.cli.merge_command:merge", "Fold the point that a point was made on into it; or make it whole."),
    "config": ("tui.cli.config_commands:config", "The configuration file, and the password that belongs to it."),
    "completion": ("tui.cli.completion_command:completion", "Print the completion script for bash, zsh or fish."),
    "lab": ("tui.cli.lab:lab", "Run the embedded vSphere alone, for govc and rehearsals."),
}
_HELP = """VMware Consolidated Backup for today's vSphere, on the backup proxy.

Without a command on a terminal: the full-screen console. For a first look without any set-up: vcb demo."""


def application() -> App:
    """The commands, none of them imported yet."""
    app = App(
        name="vcb",
        help=_HELP,
        version=f"vcb-console {__version__}",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
    )
    for order, (name, (target, text)) in enumerate(_COMMANDS.items()):
        app.command(target, name=name, help=text, sort_key=order)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns the exit code; `arguments` default to the process's."""
    safe_streams()
    if arguments is None:
        os.umask(0o077)  # a process of our own: what it writes (state, staging, restored disks) is its owner's alone
    words = list(sys.argv[1:] if arguments is None else arguments)
    know_misplaced(words)
    as_json = "--json" in words
    try:
        with guarded():
            if not words and on_a_terminal():
                return console()
        with guarded(), endings_raise():
            return application()(words) or 0
    except CycloptsError as error:
        Screen().error(str(error), hint=_advice(words))
        return USAGE_ERROR
    except VcbError as error:
        return _failed(error, as_json)
    except KeyboardInterrupt:
        Screen().error("Cancelled.")
        return CANCELLED
    except Exception as defect:
        show_defect(defect)
        Screen().error("This is a defect of vcb, not of your configuration; the lines above tell where.")
        return DEFECT


def _failed(error: VcbError, as_json: bool) -> int:
    from tui.cli.job_commands import failed  # noqa: PLC0415 - only when something failed

    screen = Screen(as_json=as_json)
    screen.error(error.sentence, fault=error.fault, hint=error.hint)
    screen.result(failed(error))
    return error.exit_code


def _advice(words: Sequence[str]) -> str:
    if any(word == "--password" or word.startswith("--password=") for word in words):
        return "A password on a command line is there for every user of the machine to read: use --password-file."
    command = f"{words[0]} " if words and words[0] in _COMMANDS else ""
    return f"vcb {command}--help tells what is possible."


if __name__ == "__main__":
    sys.exit(main())
