"""The files of a point in the console: volumes, directories, and a job that takes one of them out."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ImageError
from engine.jobs.files_process import FilesProcess
from engine.jobs.orders import FilesOrder
from engine.jobs.request import Act
from tests.drill.made import on_disk, point_of, swap
from tests.files import made
from tests.tui.test_acts import Started, app_with, on_points, started, until  # noqa: F401 - a fixture
from tui.screens.files import FilesScreen
from tui.screens.points import PointsScreen
from tui.screens.take_out import TakeOutScreen
from tui.widgets.choice_list import ChoiceList


@pytest.fixture
def root(tmp_path: Path) -> Path:
    source = made.tree(tmp_path / "source")
    (source / "new\nline\x1b[31m").write_text("escape")
    (source / "link").symlink_to("/etc")
    root = tmp_path / "root"
    root.mkdir()
    point_of(root, 1, on_disk(tmp_path / "disk", [swap(tmp_path / "swap"), made.ext4(tmp_path / "volume", source)]))
    return root


async def on_files(app: Any, pilot: Any, root: Path) -> FilesScreen:
    await on_points(app, pilot, root)
    await pilot.press("f")
    screen = app.screen
    assert isinstance(screen, FilesScreen)
    await until(pilot, lambda: screen.found is not None)
    return screen


def titles(screen: FilesScreen) -> list[str]:
    return [choice.title for choice in screen.lines()]


async def go(pilot: Any, screen: FilesScreen, *keys: str) -> None:
    await pilot.press(*keys)
    await until(pilot, lambda: screen.found is not None)


async def to(pilot: Any, screen: FilesScreen, name: str) -> None:
    rows = [row.get("name", row.get("path")) for row in screen.found or ()]
    await pilot.press("home", *["down"] * rows.index(name))


@pytest.mark.parametrize("size", [(60, 15), pytest.param((120, 40), marks=pytest.mark.exhaustive)])
async def test_into_directories_and_back(root: Path, started: Started, size: tuple[int, int]) -> None:  # noqa: F811
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=size) as pilot:
        screen = await on_files(app, pilot, root)
        assert [title.split()[0] for title in titles(screen)] == ["scsi0:0/1", "scsi0:0/2"]
        await pilot.press("enter")  # swap: nothing can be had from it
        assert screen.place == ()
        await go(pilot, screen, "down", "enter")
        assert screen.place == ("scsi0:0/2",)
        assert "deep/" in titles(screen)
        assert "link@" in titles(screen)
        assert not any("\x1b" in title or "\n" in title for title in titles(screen))
        listed = screen.query_one(ChoiceList)
        wide = next(choice for choice in listed.choices if "日本" in choice.title)
        assert listed._line(wide, -1).cell_length == listed.size.width
        await to(pilot, screen, "link")
        assert "to /etc" in str(screen.words)
        await pilot.press("enter")
        assert screen.place == ("scsi0:0/2",)
        await to(pilot, screen, "deep")
        await go(pilot, screen, "enter")
        assert "file-7" in titles(screen)
        assert "scsi0:0/2/deep" in screen.command_line
        await go(pilot, screen, "backspace")
        assert screen.current["name"] == "deep"
        await go(pilot, screen, "left")
        assert screen.current["path"] == "scsi0:0/2"


async def test_taking_out_asks_where_and_starts_a_job(root: Path, started: Started) -> None:  # noqa: F811
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await on_files(app, pilot, root)
        await go(pilot, screen, "down", "enter")
        await to(pilot, screen, "deep")
        await pilot.press("g")
        assert isinstance(app.screen, TakeOutScreen)
        await pilot.press("enter")  # nowhere is no place
        assert isinstance(app.screen, TakeOutScreen)
        await pilot.press(*"/out")
        assert app.screen.command_line.endswith("scsi0:0/2/deep --to /out")
        await pilot.press("enter")
        await until(pilot, lambda: started)
        assert started == [(Act.FILES, (str(screen.point.directory),), FilesOrder("scsi0:0/2/deep", "/out"))]
        await until(pilot, lambda: not isinstance(app.screen, FilesScreen))


async def test_a_reader_that_dies_is_told(root: Path, started: Started) -> None:  # noqa: F811
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await on_files(app, pilot, root)
        process = screen._reader._process
        assert process is not None
        os.kill(process.pid, signal.SIGSEGV)
        process.wait()
        await go(pilot, screen, "down", "enter")
        assert "ended by signal 11" in str(screen.words)
        await go(pilot, screen, "backspace")  # a new one has been started
        assert len(titles(screen)) == 2
        await pilot.press("escape")
        await until(pilot, lambda: not screen.is_running)
        assert screen._reader._process is not None
        assert screen._reader._process.poll() is not None


async def test_closing_waits_for_no_disk(root: Path, started: Started) -> None:  # noqa: F811
    app = app_with(BACKUPROOT=root)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await on_files(app, pilot, root)
        process = screen._reader._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        await pilot.press("down", "enter")
        assert screen.found is None, str(screen.words)
        await pilot.press("g", "backspace", "enter")  # nothing to do while it is read
        assert app.screen is screen
        await pilot.press("escape")
        await until(pilot, lambda: not screen.is_running)
        assert process.poll() == -signal.SIGKILL
        await app.workers.wait_for_complete()
        assert isinstance(app.screen, PointsScreen)


def test_what_can_not_be_looked_at_is_said(tmp_path: Path) -> None:
    process = FilesProcess(tmp_path)
    with pytest.raises(ImageError, match="no restore point"):
        process.look("")
    process.close()
    with pytest.raises(ImageError):
        process.look("")
