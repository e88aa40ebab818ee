"""What every test of the console needs: a state directory of its own, and pictures of screens at rest."""

import asyncio
import inspect
from typing import Any

import pytest
from textual._styles_cache import StylesCache
from textual.pilot import Pilot

_SAME = 4
"""So many equal pictures in a row are a screen at rest: a box grows in several steps, each with its own refresh."""


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    directory = tmp_path / "state"
    monkeypatch.setenv("VCB_STATE_DIR", str(directory))
    return directory


@pytest.fixture(autouse=True)
def _forgotten():
    """Textual keeps the painted lines of a thousand widgets by this: the collector would walk them in each test."""
    yield
    StylesCache.get_inner_outer.cache_clear()


async def at_rest(pilot: Pilot[Any]) -> None:
    """Waits until the screen paints the same again and again, however slow the machine is."""
    async with asyncio.timeout(30):
        same, last = 0, None
        while same < _SAME:
            await pilot.pause()
            now = [strip.text for strip in pilot.app.screen._compositor.render_strips()]
            same, last = (same + 1 if now == last else 0), now


@pytest.fixture
def snap_compare(snap_compare: Any) -> Any:
    """The plugin's, of a screen at rest."""

    def compare(app: Any, *, run_before: Any, **more: Any) -> bool:
        async def show(pilot: Pilot[Any]) -> None:
            result = run_before(pilot)
            if inspect.isawaitable(result):
                await result
            await at_rest(pilot)

        return snap_compare(app, run_before=show, **more)

    return compare
