"""The screens of the acts, the configuration and the job log as pictures. After a wanted change: --snapshot-update."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.config.document import open_document
from engine.config.effective import settings_of
from engine.config.history import Version
from engine.config.options import Settings
from engine.errors import ConflictError
from engine.events import Result
from engine.jobs import supervisor
from engine.jobs.job import Job
from engine.jobs.journal import Writer
from engine.points.catalog import Catalogue, Point
from tests.points.made import START, _disk, _file, manifest
from tests.tui.inventory_app import InventoryApp
from tests.tui.panes import PLAIN, PlainConfig, PlainInventory
from tests.tui.test_job_log import past
from tui.app import VcbApp
from tui.panes.config import ConfigPane
from tui.panes.job_log import JobLogPane
from tui.screens import points
from tui.screens.config_history import ConfigHistoryScreen
from tui.screens.conflict import ConflictScreen
from tui.screens.doctor import DoctorScreen
from tui.screens.leftovers import LeftoversScreen
from tui.screens.points import PointsScreen
from tui.screens.restore import RestoreScreen
from tui.screens.save import SaveScreen
from tui.terminal import Colours, TerminalProfile

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
FILE = Path("/etc/vcb/config.js")
JS = 'HOST="vc01.example.org";\nUSERNAME="backup";\nTRANSPORT_MODE="nbdssl";\nLOGLEVEL="9";\n// nights only\n'


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def some_points(tmp_path: Path) -> Catalogue:
    (tmp_path / "scsi0-0.vmdk").write_bytes(b"image")
    found = []
    for day in range(3):
        at = START + timedelta(days=day)
        disk = _disk(["scsi0-0.vmdk"], cid=f"{day:08x}", parent=None)
        made = manifest(at=at, disk=[disk], file=[_file(tmp_path / "scsi0-0.vmdk")])
        found.append(Point(Path(f"/backup/points/web01-vm-1/{at:%Y%m%dT%H%M%SZ}"), made, None))
    return Catalogue(Path("/backup"), tuple(found))


@SIZES
@pytest.mark.parametrize("screen", ["points", "no points", "restore"])
def test_restore_points(
    snap_compare: Any, screen: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = some_points(tmp_path) if screen != "no points" else Catalogue(Path("/backup"), ())
    monkeypatch.setattr(points, "look", lambda *_: catalogue)
    app = VcbApp(Settings.of(BACKUPROOT="/backup"), FILE, panes=PLAIN)

    async def show(pilot: Pilot[None]) -> None:
        await app.push_screen(PointsScreen(("vc-1", "vm-1"), "web01", app.settings))
        await app.workers.wait_for_complete()
        await pilot.pause()
        if screen == "restore":
            await app.push_screen(RestoreScreen(catalogue.points[-1]))
            await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)


LEFT = {
    "text": "snapshot _VCB-BACKUP_ (snapshot-7) of web01", "action": "it is removed", "verdict": "ours",
    "kind": "snapshot", "id": "snapshot-7", "why": "its job 20260101T000001Z-abc123 is dead", "owner": "this proxy",
    "since": None, "delta_bytes": 11 << 20, "datastore": "vmfs01", "datastore_free_bytes": 58 << 30,
    "datastore_capacity_bytes": 2 << 40,
}  # fmt: skip
CHECKS = [
    {"about": "configuration", "health": "ok", "text": "config.js has no mistakes", "hint": ""},
    {"about": "trust", "health": "error", "text": "the certificate of vc01.example.org:443 is not trusted",
     "hint": "vcb trust approve vc01.example.org shows its fingerprint and takes it from then on."},
    {"about": "leftovers", "health": "warning", "text": "1 snapshot is left by dead jobs", "hint": "vcb reconcile"},
]  # fmt: skip


@SIZES
@pytest.mark.parametrize("screen", [LeftoversScreen, DoctorScreen])
def test_what_a_worker_found(
    snap_compare: Any, screen: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    def start(*_: Any, **__: Any) -> Job:
        """A job whose worker has ended."""
        job = Job(state / "jobs" / "20260101T000001Z-abc123")
        job.directory.mkdir(parents=True)
        summary = {"found": [LEFT], "unchecked": [], "checks": CHECKS, "sentence": "1 error, 1 warning."}
        writer = Writer(job.directory)
        writer.append(Result(at=0, state="success", sentence="s", summary=summary), 1)
        writer.close()
        return job

    monkeypatch.setattr(supervisor, "start", start)
    app = VcbApp(Settings.of(), FILE, panes=PLAIN)

    async def show(pilot: Pilot[None]) -> None:
        dialog = screen(app.settings)
        await app.push_screen(dialog)
        while dialog.summary is None:
            await pilot.pause(0.02)

    assert snap_compare(app, terminal_size=size, run_before=show)


@SIZES
@pytest.mark.parametrize("keys", ["", "r"], ids=["form", "raw"])
def test_configuration(
    snap_compare: Any, keys: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.js").write_text(JS)
    file = Path("config.js")
    app = VcbApp(settings_of(open_document(file), {}), file, panes=(PlainInventory, ConfigPane, PLAIN[2]))
    monkeypatch.setattr(ConfigPane, "look_at_machine", lambda _: None)

    async def show(pilot: Pilot[None]) -> None:
        await pilot.press("f3", "z", *["down"] * 4, *keys)
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)


def dialogs() -> dict[str, Callable[[], Any]]:
    at = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)
    lines = ["--- config.js", "+++ config.js", "@@ -3,2 +3,2 @@", ' TRANSPORT_MODE="nbdssl";', '-LOGLEVEL="9";',
             '+LOGLEVEL="6";']  # fmt: skip
    mine, disk = JS.replace('"9"', '"6"').encode(), JS.replace("nbdssl", "san").encode()
    versions = [
        Version(number=number, at=at, what=what, sha256="", parent=0, data=data)
        for number, what, data in ((2, "set LOGLEVEL", mine), (1, "as it was found", JS.encode()))
    ]
    return {
        "save": lambda: SaveScreen(
            FILE.name, lines, [], ["PASSWORD is replaced."], f"vcb config set {FILE} LOGLEVEL=6"
        ),
        "conflict": lambda: ConflictScreen(
            ConflictError("config.js was changed by another program", base=JS.encode(), mine=mine, disk=disk), FILE
        ),
        "history": lambda: ConfigHistoryScreen(FILE, versions, 2, mine),
    }


@SIZES
@pytest.mark.parametrize("name", ["save", "conflict", "history"])
def test_dialogs_of_a_save(snap_compare: Any, name: str, size: tuple[int, int]) -> None:
    app = VcbApp(Settings.of(), FILE, panes=PLAIN)

    async def show(pilot: Pilot[None]) -> None:
        await app.push_screen(dialogs()[name]())
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)


@SIZES
@pytest.mark.parametrize("keys", ["", "J", "colon"], ids=["log", "jobs", "palette"])
def test_job_log(snap_compare: Any, keys: str, size: tuple[int, int], state: Path) -> None:
    past(state / "jobs")
    app = VcbApp(Settings.of(), FILE, panes=(PlainInventory, PlainConfig, JobLogPane))

    async def show(pilot: Pilot[None]) -> None:
        await pilot.press("f4")
        pane = app.main_screen.panes["job_log"] if app.main_screen else None
        assert isinstance(pane, JobLogPane)
        while pane.row is None or pane.window is None or not pane.window.rows or pane.picture is None:
            await pilot.pause(0.01)
        await pilot.press("z", *([keys] if keys else []))
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)


@pytest.mark.parametrize("theme", ["night", "day", "contrast", "amber", "console16", "mono"])
def test_main_screen_in_each_theme(snap_compare: Any, theme: str) -> None:
    few = {"console16": Colours.SIXTEEN, "mono": Colours.NONE}.get(theme)
    app = InventoryApp(profile=TerminalProfile(colours=few, unicode=False) if few else None)

    async def show(pilot: Pilot[None]) -> None:
        app.wear(theme)
        await pilot.press("z")
        app.fill()
        await pilot.press("g", *"db01", "enter", "space")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=show)
