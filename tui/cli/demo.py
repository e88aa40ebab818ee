"""vcb demo: the console, or one whole backup, on an embedded vSphere; nothing to set up."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.config.secrets import child_environment
from engine.events import ResultState
from engine.reporter import Reporter
from tui.cli import demo_proxy
from tui.cli.console_command import console, on_a_terminal
from tui.cli.flags import JsonFlag
from tui.cli.job_commands import run_jobs
from tui.cli.lab_keeper import jobs_run, kept_lab
from tui.cli.lab_process import LabProcess
from tui.cli.screen import Screen

_STATE = "VCB_STATE_DIR"
DEMO_VM = "web01"
_KEEP_FREE = "64 MiB"
"""The demo is small, and temporary directories often are."""


def demo(
    *,
    headless: Annotated[bool, Parameter(negative=())] = False,
    transport: str = "nbdssl",
    keep: Path | None = None,
    loglevel: str = "3",
    json: JsonFlag = False,
) -> int:
    """Open the console on an embedded vSphere, with guests that write, a leftover snapshot, jobs and an odd config.js.

    The lab runs on the loopback interface with real protocols and TLS verified. Jobs go on when the console is left;
    the lab ends when neither needs it. With the same --keep a later demo finds everything where it was.

    Headless: back up a running VM and prove the restore point. When qemu-img is installed, every exported disk is
    compared with the lab's own image of the frozen disk. The directory stays to be looked at, and its name is told.

    Parameters
    ----------
    headless
        Without the console: one whole backup, told line by line. So is any demo that has no terminal.
    transport
        How disk data comes: san, hotadd, nbd, nbdssl or https. With san a new lab's VMFS datastores lie on LUNs.
    keep
        Directory for the lab and the restore point. Default: a new one in the temporary directory.
    loglevel
        What the log records, 0 to 6.
    """
    screen = Screen(as_json=json)
    wanted = Settings.of(TRANSPORT_MODE=transport, LOGLEVEL=loglevel, KEEP_FREE=_KEEP_FREE)
    directory = (keep or Path(tempfile.mkdtemp(prefix="vcb-demo-"))).absolute()
    (directory / "backup").mkdir(parents=True, exist_ok=True)
    screen.line(f"Starting an embedded vSphere in {directory}", "dim")
    with _own_state(directory / "state"):
        if headless or json or not on_a_terminal():
            code = _headless(screen, wanted.but(BACKUPROOT=directory / "backup"), directory)
        else:
            code = _console(directory)
        busy = jobs_run()
    when = "When they have ended, all" if busy else "All"
    screen.line(f"{when} of this can go: rm -r {directory}", "dim")
    return code


def _console(directory: Path) -> int:
    with kept_lab(directory) as connection:
        file = demo_proxy.configuration(directory, connection)
        demo_proxy.past(file)
        return console(file, way_back=f"vcb demo --keep {directory} shows them again")


def _headless(screen: Screen, settings: Settings, directory: Path) -> int:
    with LabProcess(directory / "lab", luns=settings.TRANSPORT_MODE == "san") as lab:
        screen.line(f"It answers at {lab.url}; backing up its VM {DEMO_VM}.", "dim")
        if settings.TRANSPORT_MODE == "hotadd":
            screen.line(f"This process plays its VM proxy01; attached disks show as {lab.proxy_devices}.", "dim")
        return _backup(screen, settings.but(**lab.settings()), lab)


@contextmanager
def _own_state(directory: Path) -> Iterator[None]:
    """The demo leaves no trace in what the real proxy remembers of its jobs."""
    before = os.environ.get(_STATE)
    os.environ[_STATE] = str(directory.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_STATE]
        else:
            os.environ[_STATE] = before


def _backup(screen: Screen, settings: Settings, lab: LabProcess) -> int:
    from engine.flow import job  # noqa: PLC0415 - pyVmomi takes half a second

    def work(report: Reporter, cancel: CancelToken) -> Any:
        return job.backup(f"name:{DEMO_VM}", settings, report, cancel)

    return run_jobs(screen, settings, [work], lambda outcomes: _proof(_compare(screen, lab, outcomes[0])))


def _proof(compared: list[dict[str, Any]]) -> dict[str, Any]:
    """What the comparison adds to the machine's line; a difference makes the demo a failure."""
    proven = all(one["identical"] for one in compared)
    verdict = {} if proven else {"result": ResultState.FAILURE.value, "exit_code": ResultState.FAILURE.exit_code}
    return {"compared": compared, **verdict}


def _compare(screen: Screen, lab: LabProcess, outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """Each exported disk beside the lab's raw image of the frozen one, by a program that is neither's."""
    if not outcome.get("point"):
        return []
    qemu_img = shutil.which("qemu-img")
    if qemu_img is None:
        screen.line("  qemu-img is not installed, so nothing foreign has compared the disks.", "yellow")
        return []
    compared = []
    for disk in outcome["disks"]:
        frozen = lab.frozen_image(outcome["snapshot"]["moref"], disk["key"])
        descriptor = next((file["name"] for file in disk.get("files", ()) if _describes(file["name"])), None)
        if descriptor is None:
            continue
        identical, said = _identical(qemu_img, Path(outcome["point"]) / descriptor, frozen)
        compared.append({"disk": disk["name"], "image": descriptor, "frozen": str(frozen), "identical": identical})
        words = "identical to the frozen disk" if identical else f"DIFFERENT from the frozen disk: {said}"
        screen.line(f"  qemu-img  {disk['name']} ({descriptor}): {words}", "green" if identical else "bold red")
    return compared


def _describes(name: str) -> bool:
    """Whether a file is the one to open: not the raw half of a flat disk."""
    return name.endswith(".vmdk") and not name.endswith("-flat.vmdk")


def _identical(qemu_img: str, image: Path, frozen: Path) -> tuple[bool, str]:
    command = [qemu_img, "compare", "-f", "vmdk", "-F", "raw", str(image), str(frozen)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())  # noqa: S603
    return done.returncode == 0, (done.stdout + done.stderr).strip().replace("\n", " ")
