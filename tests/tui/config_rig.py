"""A console whose configuration pane fills the screen, on a file of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import WorkerCancelled

from engine.config.document import open_document
from engine.config.effective import settings_of
from engine.config.options import Settings
from tui.app import VcbApp
from tui.models.open_config import OpenConfig
from tui.models.option_form import Row
from tui.panes.config import ConfigPane
from tui.panes.inventory import InventoryPane


@asynccontextmanager
async def editor(file: Path | None, size: tuple[int, int] = (100, 40)) -> AsyncIterator[Pilot[None]]:
    """The console with the focus in the configuration pane, and no process that looks for the vCenter it names."""
    settings = settings_of(open_document(file), {}) if file else Settings.of()
    app = VcbApp(settings, file)
    with patch.object(InventoryPane, "connect"):
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.press("f3")
            await settled(pilot)
            yield pilot


def pane(pilot: Pilot[None]) -> ConfigPane:
    return pilot.app.screen_stack[1].query_one(ConfigPane)


async def settled(pilot: Pilot[None]) -> None:
    """Until the workers that end by themselves have ended; those of "config-act" wait for the operator."""
    await pilot.pause()
    for worker in [worker for worker in pilot.app.workers if worker.group.startswith("config-thread")]:
        with suppress(WorkerCancelled):
            await worker.wait()
    await pilot.pause()


def dump(pilot: Pilot[None]) -> str:
    """Every character on the screen."""
    lines = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line) for line in lines)


async def go_to(pilot: Pilot[None], option: str) -> None:
    assert pane(pilot)._rows.go_to(option)
    await pilot.pause()


def opened(pilot: Pilot[None]) -> OpenConfig:
    config = pane(pilot).config
    assert config is not None
    return config


def row(pilot: Pilot[None]) -> Row:
    current = pane(pilot)._rows.current
    assert current is not None
    return current


def entry(pilot: Pilot[None]) -> Input:
    """The line that is being typed."""
    assert isinstance(pilot.app.focused, Input)
    return pilot.app.focused
