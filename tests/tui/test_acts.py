"""The acts of the console: points, restore, mount points, leftovers, doctor: what they ask, which job they start."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.options import Settings
from engine.events import Result
from engine.jobs import supervisor
from engine.jobs.job import Job
from engine.jobs.journal import Writer
from engine.jobs.orders import ReconcileOrder, RestoreOrder, RestoreTo, RetainOrder, VerifyOrder
from engine.jobs.request import Act, Request
from engine.points import mount_point
from engine.points.catalog import look
from engine.points.mount_point import Marker
from engine.points.proof import Depth
from engine.state_directory import StateDirectory
from tests.points.made import small_point
from tests.tui.panes import PlainConfig, PlainInventory, PlainLog
from tui.app import VcbApp
from tui.screens.confirm import Confirm
from tui.screens.doctor import DoctorScreen
from tui.screens.leftovers import LeftoversScreen
from tui.screens.mounts import MountsScreen
from tui.screens.points import PointsScreen
from tui.screens.restore import RestoreScreen

Started = list[tuple[Act, tuple[str, ...], Any]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """The jobs that the console asked for; none runs."""
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    asked: Started = []

    def start(act: Act, subjects: list[str], settings: Settings, *, names: Any = (), order: Any = None) -> Job:
        asked.append((act, tuple(subjects), order))
        directory = tmp_path / "state" / "jobs" / f"20260101T00000{len(asked)}Z-abc123"
        directory.mkdir(parents=True)
        Request(directory.name, act, tuple(subjects), settings, order=order).save(directory)
        found = {"text": "snapshot _VCB-BACKUP_ of web01", "action": "it is removed", "verdict": "ours",
                 "kind": "snapshot", "id": "snapshot-7", "why": "its job is dead", "owner": "", "since": None,
                 "delta_bytes": None}  # fmt: skip
        check = {"about": "trust", "health": "error", "text": "not trusted", "hint": "vcb trust"}
        summary = {"found": [found], "unchecked": [], "checks": [check], "sentence": "1 left by dead jobs."}
        writer = Writer(directory)
        writer.append(Result(at=0, state="success", sentence="s", summary=summary), 1)
        writer.close()
        return Job(directory)

    monkeypatch.setattr(supervisor, "start", start)
    return asked


def app_with(**values: Any) -> VcbApp:
    return VcbApp(Settings.of(**values), panes=(PlainInventory, PlainConfig, PlainLog))


async def until(pilot: Any, true: Callable[[], Any]) -> None:
    for _ in range(400):
        if true():
            return
        await asyncio.sleep(0.01)
        await pilot.pause()
    raise AssertionError("it never happened")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    small_point(root, 1)
    small_point(root, 2)
    return root


async def on_points(app: VcbApp, pilot: Any, root: Path) -> PointsScreen:
    state = StateDirectory.default().root
    point = look(root, state).points[0]
    screen = PointsScreen(point.identity, "web01", app.settings)
    await app.push_screen(screen)
    await until(pilot, lambda: screen.found is not None)
    return screen


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 15)])
async def test_points_are_listed_newest_first(root: Path, started: Started, size: tuple[int, int]) -> None:
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=size) as pilot:
        screen = await on_points(app, pilot, root)
        assert [point.name for point in screen.found or ()] == ["20211022T020000Z", "20211021T020000Z"]
        assert "20211022T020000Z" in str(screen.words)
        await pilot.press("down")
        assert "20211021T020000Z" in screen.command_line
        assert screen.command_line.startswith("vcb verify")


async def test_points_of_another_vcenters_vm_are_not_this_ones(root: Path, started: Started) -> None:
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=(80, 24)) as pilot:
        for vcenter, count in (("vc-1", 2), ("vc-2", 0)):
            screen = PointsScreen((vcenter, "vm-1"), "web01", app.settings)
            await app.push_screen(screen)
            await until(pilot, lambda screen=screen: screen.found is not None)
            assert len(screen.found or ()) == count


async def test_verify_asks_how_deep(root: Path, started: Started) -> None:
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await on_points(app, pilot, root)
        point = str(screen.current.directory)
        await pilot.press("v", "down")
        assert "--depth chain" in app.screen.command_line  # type: ignore[attr-defined]
        await pilot.press("enter")
        await pilot.pause()
        assert started == [(Act.VERIFY, (point,), VerifyOrder(Depth.CHAIN))]


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        (["enter"], RestoreOrder(RestoreTo.NEW_VM)),
        (["tab", *"new", "enter"], RestoreOrder(RestoreTo.NEW_VM, "new")),
        (["down", "enter", "tab", *"/o", "enter"], RestoreOrder(RestoreTo.FILES, "/o")),
        (["down", "ctrl+d", "tab", *"/o", "enter"], RestoreOrder(RestoreTo.FILES, "/o", ("scsi0:0",))),
        (["down", "down", "enter", "n", "enter"], None),
        (["down", "down", "enter", *"web01", "enter"], RestoreOrder(RestoreTo.IN_PLACE)),
        (["down", "down", "down", "tab", *"db01", "enter"], RestoreOrder(RestoreTo.VM_DISK, "db01", ("scsi0:0",))),
    ],
)
async def test_each_way_of_a_restore(root: Path, started: Started, keys: list[str], order: RestoreOrder | None) -> None:
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=(80, 24)) as pilot:
        await on_points(app, pilot, root)
        await pilot.press("r")
        assert isinstance(app.screen, RestoreScreen)
        assert app.screen.command_line.startswith("vcb restore ")
        await pilot.press(*keys)
        await pilot.pause()
        assert [each[2] for each in started] == ([order] if order else [])


async def test_clearing_out_names_each_point_with_its_reason(root: Path, started: Started) -> None:
    app = app_with(BACKUPROOT=root, KEEP_LAST=1)
    async with app.run_test(size=(100, 30)) as pilot:
        await on_points(app, pilot, root)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "20211021T020000Z" in str(app.screen.query_one("#destroyed").render())
        await pilot.press("y")
        await pilot.pause()
        ((act, _, order),) = started
        assert act is Act.RETAIN
        assert isinstance(order, RetainOrder)
        assert [Path(each).name for each in order.agreed] == ["20211021T020000Z"]


async def test_a_mount_point_goes_after_a_yes(tmp_path: Path, started: Started) -> None:
    proxy = StateDirectory.default().proxy_id
    for vm, owner in (("db01", proxy), ("web01", "another")):
        marker = Marker(job="j", proxy=owner, vcenter="v", vm="vm-1", vm_name=vm, snapshot_policy="conditional",
                        contents=[], snapshot="snapshot-3")  # fmt: skip
        mount_point.create(tmp_path / f"fullvm-{vm}", marker)
    app = app_with(BACKUPROOT=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f7")
        screen = app.screen
        assert isinstance(screen, MountsScreen)
        await until(pilot, lambda: screen.found is not None)
        assert screen.command_line.endswith("fullvm-db01")
        await pilot.press("u")
        assert "snapshot-3" in str(app.screen.query_one("#destroyed").render())
        await pilot.press("n")
        assert started == []
        await pilot.press("down", "u")
        assert app.screen is screen, "another proxy's is not touched"
        await pilot.press("up", "u", "y")
        await pilot.pause()
        assert [each[:2] for each in started] == [(Act.UNMOUNT, (str(tmp_path / "fullvm-db01"),))]


async def test_leftovers_are_named_before_they_go(started: Started) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f12")
        screen = app.screen
        assert isinstance(screen, LeftoversScreen)
        await until(pilot, lambda: screen.summary)
        assert "its job is dead" in str(screen.words)
        await pilot.press("c")
        assert "snapshot _VCB-BACKUP_ of web01" in str(app.screen.query_one("#destroyed").render())
        await pilot.press("y")
        await pilot.pause()
        assert started[1:] == [(Act.RECONCILE, ("leftovers",), ReconcileOrder(("snapshot snapshot-7",)))]


async def test_the_doctor_says_what_to_do(started: Started) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f6")
        screen = app.screen
        assert isinstance(screen, DoctorScreen)
        await until(pilot, lambda: screen.summary)
        assert "vcb trust" in str(screen.words)
        await pilot.press("escape")
        assert app.screen is not screen


async def test_the_header_tells_of_dead_jobs(tmp_path: Path, started: Started) -> None:
    from engine.flow.ledger import Kind, Ledger  # noqa: PLC0415

    directory = StateDirectory.default().job("20260101T000000Z-dead01")
    book = Ledger(directory)
    book.intent(Kind.SNAPSHOT, name="_VCB-BACKUP_", vm="vm-1")
    book.close()
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.status.leftovers)
        assert app.status.leftovers == 1
