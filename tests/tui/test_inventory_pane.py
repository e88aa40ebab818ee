"""The inventory pane: each key, what the lines say, the plan before anything, and the state that survives."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from engine.config.options import Origin, Settings
from engine.config.secrets import PROMPTED
from engine.errors import VcbError
from engine.jobs import supervisor
from engine.jobs.inventory_rows import Points, Rows, Status, Trouble
from engine.jobs.job import Job
from engine.jobs.request import Act
from engine.lab import Lab
from engine.secret import Secret
from tests.tui.inventory_app import LIVE, LOST, MACHINES, NOW, PLACES, POINTS, InventoryApp, JobMark, answers, vm
from tui.commands import Offers
from tui.glyphs import ASCII
from tui.models.inventory import InventoryModel
from tui.panes.inventory import InventoryPane
from tui.screens.password import PasswordScreen
from tui.screens.plan import PlanScreen
from tui.screens.vm_detail import VmDetail
from tui.widgets.inventory_line import LOOKS, LineMaker, header

Running = tuple[InventoryApp, Pilot[None]]


@asynccontextmanager
async def running(size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[Running]:
    app = InventoryApp(**options)
    async with app.run_test(size=size) as pilot:
        await pilot.press("z")
        app.fill()
        await pilot.pause()
        yield app, pilot


def cursor(app: InventoryApp) -> str:
    slot = app.pane.tree_view.cursor_slot
    return app.pane.model.name(slot) if slot is not None else ""


async def test_moving_folding_and_going_outside() -> None:
    async with running() as (app, pilot):
        await pilot.press("down", "down")
        assert cursor(app) == "db01"
        await pilot.press("enter")
        assert "VMDK(INDEPENDENT)" in app.line_of("scsi0:1")
        assert "independent_persistent" in app.line_of("scsi0:1")
        await pilot.press("right")
        assert cursor(app) == "scsi0:0"
        await pilot.press("left")
        assert cursor(app) == "db01"
        await pilot.press("left", "left")
        assert cursor(app) == "Databases"
        await pilot.press("left")
        assert not app.line_of("db01")
        await pilot.press("end")
        assert cursor(app) == "web02" or cursor(app) == "mail01"
        await pilot.press("home")
        assert cursor(app) == "Berlin"
        await pilot.press("pagedown", "pageup")
        assert cursor(app) == "Berlin"


async def test_lines_say_what_colours_say() -> None:
    async with running((80, 24)) as (app, _):
        assert "S12d" in app.line_of("web02")
        assert "never" in app.line_of("web02")
        assert "L B2h" in app.line_of("db02")
        assert "C T" in app.line_of("mail01")
        assert "40d!" in app.line_of("db01")
        assert "none" in app.line_of("db01"), "a damaged point proves nothing"
        assert "○" in app.line_of("archive01")
        assert "▤" in app.line_of("golden")
        assert "✗" in app.line_of("lost01")
        assert "3h" in app.line_of("web01")


@pytest.mark.parametrize("width", [20, 30, 38, 50, 80, 140])
def test_every_width_fits_its_columns(width: int) -> None:
    model = InventoryModel(clock=lambda: NOW)
    for message in (LIVE, Rows(rows=(*PLACES, *MACHINES)), Points(vms=POINTS)):
        model.apply(message)
    model.flip(model.slots["vm-3"])
    model.show_jobs({"vm-1": JobMark("j", "export", 0.42)})
    lines = LineMaker(model, ASCII)
    for slot, depth in zip(model.rows, model.depths, strict=True):
        pieces = lines.line(slot, depth, width)
        text = "".join(piece for piece, _ in pieces)
        assert cell_len(text) == width
        assert {look for _, look in pieces} <= set(LOOKS)
        assert text.isascii() or "Drucker" in text or "B\u00fc" in text
    assert cell_len("".join(text for text, _ in header(width))) == width


async def test_filter_narrows_as_you_type_and_escape_clears() -> None:
    async with running() as (app, pilot):
        await pilot.press("slash", "w", "0", "2")
        assert app.line_of("web02")
        assert not app.line_of("mail01")
        assert "1 of 9" in app.pane.note
        assert cursor(app) == "web02", "what was looked for, not the folder that holds it"
        await pilot.press("enter")
        assert app.focused is app.pane.tree_view
        await pilot.press("escape")
        assert app.line_of("mail01")
        assert app.pane.note == "9 VMs"


async def test_a_folder_is_no_vm_and_says_what_to_do() -> None:
    async with running() as (app, pilot):
        await pilot.press("home", "b")
        (said,) = [notice.message for notice in app._notifications]
        assert said == "The cursor is on Berlin, which is no VM. Space marks the 9 VMs in it; or go to one first."
        assert not isinstance(app.screen, PlanScreen)


async def test_jumping_opens_what_hides_the_vm() -> None:
    async with running() as (app, pilot):
        await pilot.press("down", "left", "g", *"db02", "enter")
        assert cursor(app) == "db02"
        await pilot.press("home", "g", *"mail", "escape")
        assert cursor(app) == "Berlin"


async def test_marks() -> None:
    async with running() as (app, pilot):
        await pilot.press("down", "space")
        assert {each.name for each in app.pane.model.marked_machines()} == {"db01", "db02"}
        assert "▣" in app.line_of("db01")
        assert "2 marked" in app.pane.note
        await pilot.press("asterisk")
        assert len(app.pane.model.marked) == 9
        await pilot.press("asterisk")
        assert not app.pane.model.marked
        await pilot.press("space", "u")
        assert not app.pane.model.marked


async def test_order_and_grouping() -> None:
    async with running() as (app, pilot):
        await pilot.press("s", "s")
        assert "largest first" in app.pane.note
        await pilot.press("v")
        assert app.line_of("esx01.example.org")
        assert not app.line_of("Databases")


async def test_detail_tells_everything_and_stays_live() -> None:
    async with running((100, 40)) as (app, pilot):
        await pilot.press("g", *"db01", "enter", "i")
        screen = app.screen
        assert isinstance(screen, VmDetail)
        text = str(screen.words)
        for wanted in (
            "VMDK(INDEPENDENT)",
            "independent_persistent",
            "DAMAGED",
            "200 GiB",
            "Berlin / Databases / db01",
        ):
            assert wanted in text
        app.pane.model.apply(Rows(rows=(vm(3, "db01", "group-db", power="poweredOff"),)))
        screen._follow()
        assert "powered off" in str(screen.words)
        await pilot.press("escape")
        assert not isinstance(app.screen, VmDetail)


async def test_the_plan_comes_before_the_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[tuple[Any, ...]] = []

    def start(act: Act, specs: list[str], settings: Settings, *, names: list[str]) -> Job:
        started.append((act, tuple(specs), tuple(names)))
        return Job(tmp_path / "20231115T020000Z-abc123")

    monkeypatch.setattr(supervisor, "start", start)
    async with running((100, 40)) as (app, pilot):
        answers(app)
        await pilot.press("g", *"db01", "enter", "b")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, PlanScreen)
        text = str(screen.words)
        assert "independent" in text
        assert screen.command_line == "vcb backup moref:vm-3 --config /etc/vcb/config.js"
        assert started == []
        await pilot.press("enter")
        assert started == [(Act.BACKUP, ("moref:vm-3",), ("db01",))]
        await pilot.press("home", "down", "space", "m")
        await pilot.pause()
        await pilot.press("enter")
        assert started[1:] == [(Act.MOUNT, ("moref:vm-3",), ("db01",)), (Act.MOUNT, ("moref:vm-4",), ("db02",))]
        assert app.told[-1].specs == ("moref:vm-3", "moref:vm-4")
        assert not app.pane.model.marked


async def test_what_cannot_run_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "start", lambda *_, **__: pytest.fail("it was started"))
    async with running((100, 40)) as (app, pilot):
        answers(app, error={"code": "vm-unsuitable", "sentence": "It is a template.", "fault": "", "hint": "Clone it."})
        await pilot.press("end", "b")
        await pilot.pause()
        assert isinstance(app.screen, PlanScreen)
        assert "Clone it." in str(app.screen.words)
        await pilot.press("enter", "escape")
        assert not isinstance(app.screen, PlanScreen)


async def test_without_a_worker_the_plan_says_so() -> None:
    async with running((100, 40)) as (app, pilot):
        await pilot.press("end", "b")
        await pilot.pause()
        assert "no connection" in str(app.screen.words)  # type: ignore[attr-defined]
        with pytest.raises(VcbError):
            await app.pane.feed.plan(["moref:vm-1"], app.settings)


async def test_jobs_show_their_progress() -> None:
    async with running() as (app, pilot):
        app.pane.tree_view.show(app.pane.model.show_jobs({"vm-1": JobMark("j", "export", 0.42)}))
        await pilot.pause()
        assert "42%" in app.line_of("web01")
        app.pane.tree_view.show(app.pane.model.show_jobs({}))
        assert "42%" not in app.line_of("web01")


async def test_a_lost_vcenter_is_told_and_the_tree_stays() -> None:
    async with running() as (app, pilot):
        app.pane._changed(app.pane.model.apply(LOST))
        await pilot.pause()
        assert "LOST" in app.pane.note
        assert "nothing listens there" in str(app.pane._state_line.render())
        assert "1m ago" in str(app.pane._state_line.render())
        assert app.line_of("web01")


async def test_a_missing_password_is_asked_for_and_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (app, pilot):
        refused = Status(state="refused", since=0, vcenter="v", trouble=Trouble(code="config", sentence="no password"))
        app.pane._changed(app.pane.model.apply(refused))
        seen: list[Settings] = []
        monkeypatch.setattr(app.pane, "connect", seen.append)
        await pilot.press("r")
        assert isinstance(app.screen, PasswordScreen)
        await pilot.press("enter")
        assert isinstance(app.screen, PasswordScreen), "an empty one is none"
        await pilot.press(*"s3cret", "enter")
        assert [settings.PASSWORD for settings in seen] == [Secret("s3cret")]
        assert Secret("s3cret") == app.settings.PASSWORD


async def test_state_survives() -> None:
    async with running() as (app, pilot):
        await pilot.press("down", "left", "s", "slash", *"0", "enter")
        state = app.pane.save_state()
        app.pane.restore_state({"flipped": 7, "sort": None, "filter": ""})
        app.pane.restore_state(state)
        assert app.pane.model.needle == "0"
        assert app.pane.model.sort == "power"
        assert "group-db" in app.pane.model.flipped


async def test_the_cursor_stays_on_its_vm() -> None:
    async with running() as (app, pilot):
        await pilot.press("g", *"web01", "enter")
        app.pane._changed(app.pane.model.apply(Rows(rows=(vm(20, "aaa", "group-db"),), gone=("vm-3",))))
        await pilot.pause()
        assert cursor(app) == "web01"
        app.pane._changed(app.pane.model.apply(Rows(gone=("vm-1",))))
        assert cursor(app)


async def test_a_click_chooses_and_a_second_one_opens() -> None:
    async with running() as (app, pilot):
        await pilot.click(app.pane.tree_view, offset=(8, 3))
        assert cursor(app) == "db01"
        await pilot.click(app.pane.tree_view, offset=(8, 3))
        await pilot.pause()
        assert app.line_of("scsi0:1")


@pytest.mark.parametrize("offers", [InventoryPane, VmDetail, PlanScreen, PasswordScreen])
def test_every_command_has_its_method(offers: type[Offers]) -> None:
    assert all(hasattr(offers, f"action_{command.action}") for command in offers.offered())


async def until(pilot: Pilot[None], true: Callable[[], Any]) -> None:
    end = time.monotonic() + 40
    while not true():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.02)
        await pilot.pause()


async def test_from_an_empty_pane_to_a_restore_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCB_STATE_DIR", str(tmp_path / "state"))
    password, root = tmp_path / "password", tmp_path / "root"
    root.mkdir()
    with Lab.start(tmp_path / "lab", seed="small", guest=False) as lab:
        password.write_text(lab.password)
        password.chmod(0o600)
        settings = Settings.of(
            HOST=lab.host,
            PORT=lab.port,
            USERNAME=lab.user,
            PASSWORD_FILE=password,
            CA_FILE=lab.ca_file,
            BACKUPROOT=root,
            TRANSPORT_MODE="nbdssl",
            KEEP_FREE="0",
        )
        app = InventoryApp(settings)
        async with app.run_test(size=(100, 40)) as pilot:
            await until(pilot, lambda: app.line_of("web01"))
            await pilot.press("g", *"web01", "enter", "b")
            await until(pilot, lambda: isinstance(app.screen, PlanScreen) and app.screen.startable)
            await pilot.press("enter")
            await until(pilot, lambda: app.pane.model.points(app.pane.model.ids[app.pane.tree_view.cursor_slot or 0]))
            assert "never" not in app.line_of("web01")
            job = supervisor.jobs()[0]
            await until(pilot, lambda: not job.alive)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("keys", ["", "b", "i"], ids=["pane", "plan", "detail"])
def test_looks(snap_compare: Any, size: tuple[int, int], keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    app = InventoryApp()

    async def prepare(pilot: Pilot[None]) -> None:
        await pilot.press("z")
        app.fill()
        app.pane.model.flip(app.pane.model.slots["vm-3"])
        app.pane.model.show_jobs({"vm-1": JobMark("j", "export", 0.42)})
        app.pane.tree_view.rebuilt()
        answers(app)
        await pilot.press("g", *"db01", "enter", *keys)
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=prepare)


async def test_a_saved_configuration_leads_to_the_other_vcenter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    app = InventoryApp()
    async with app.run_test() as pilot:
        monkeypatch.setattr(app.pane.feed, "start", asked.append)
        typed = Settings.of(HOST="vc1", USERNAME="backup").having("PASSWORD", Secret("typed-by-hand"), Origin(PROMPTED))
        app.adopt(typed, None)
        app.adopt(Settings.of(HOST="vc1", USERNAME="backup", LOGLEVEL=5), None)
        await pilot.pause()
        assert [settings.HOST for settings in asked] == ["vc1"], "the log level leads to the same one"
        assert Secret("typed-by-hand") == app.settings.PASSWORD
        app.adopt(Settings.of(HOST="vc2", USERNAME="backup"), None)
        assert [settings.HOST for settings in asked] == ["vc1", "vc2"]
        assert app.settings.PASSWORD is None, "it was typed for the other one"
        assert app.status.host == "vc2"
