"""What our bytes show on a terminal is what Textual's own show, after every repaint, whatever was held between."""

import random

import pytest
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import RenderableType
from rich.segment import Segment
from textual._compositor import CompositorUpdate
from textual.screen import Screen
from textual.strip import Strip

from tests.tui.replay import Replay
from tests.tui.sample_app import SampleApp
from tui.wire.abilities import Abilities
from tui.wire.cells import Cells, strips_of
from tui.wire.line import Line
from tui.wire.pacing import Pacing
from tui.wire.pens import Pens

KEYS = (
    *("tab", "shift+tab", "up", "down", "left", "right", "pageup", "pagedown", "home", "end", "enter", "space"),
    *("a", "日", "é", "backspace", "ctrl+p", "escape", "q", "f2", "t", "h"),
)
SIZES = ((80, 24), (132, 40), (60, 15), (81, 25), (250, 70))


class Witness(SampleApp):
    """Sends every repaint to two terminals: as Textual encodes it, and through our line."""

    def __init__(self, abilities: Abilities, chance: random.Random) -> None:
        super().__init__()
        self.console._color_system = abilities.colours
        self._chance = chance
        self._now = 0.0
        self.theirs, self.ours = Replay(1, 1), Replay(1, 1)
        self.line = Line(abilities, Pacing(lambda: self._now), self._send)
        self.frames = 0
        self.differing: list[tuple[int, int]] = []
        self.bytes = {"theirs": 0, "ours": 0}

    def _send(self, data: str) -> None:
        self.ours.feed(data.removesuffix("\x1b[6n"))
        self.bytes["ours"] += len(data.encode())
        self.line.pacing.answered()

    def _display(self, screen: Screen, renderable: RenderableType | None) -> None:
        if not isinstance(renderable, CompositorUpdate) or self._batch_count:
            return
        self.frames += 1
        size = screen._compositor.size
        if size != self.line.size:
            self.theirs.resize(*size)
            self.ours.resize(*size)
            self.line.resize(*size)
            renderable = screen._compositor.render_full_update()
        _forget_codes(renderable)
        theirs = renderable.render_segments(self.console)
        self.bytes["theirs"] += len(theirs.encode())
        self.theirs.feed(theirs)
        self._pace(renderable)

    def _pace(self, update: CompositorUpdate) -> None:
        """Now and then the line is busy: what is held then goes with a later repaint."""
        fate = self._chance.random()
        if fate < 0.2:
            self.line.pacing.sent()
            if fate < 0.1:
                self.line.pacing.key()
        self.line.paint(update, (0, 0))
        self._now += 20.0
        if not self.line.holds:
            self.compare()

    def compare(self) -> None:
        """The rows that either terminal has been drawn on since the last time."""
        for y in self.theirs.changed() | self.ours.changed():
            if self.theirs.row(y) != self.ours.row(y):
                self.differing.append((self.frames, y))


def _forget_codes(update: CompositorUpdate) -> None:
    """Textual keeps the codes of a style for the process's life, whatever depth of colours they were made for. And
    where it cuts a line between a letter and its accent, it sends the accent alone, which a terminal then puts on
    whatever stands before: neither side is shown that."""
    for _, _, strip in strips_of(update):
        strip._render_cache = None
        for at, (text, style, control) in enumerate(strip._segments):
            cut = 0 if control else next((n for n, char in enumerate(text) if cell_len(char)), len(text))
            if cut:
                strip._segments[at] = Segment(text[cut:], style)
        for segment in strip:
            if segment.style is not None:
                segment.style._ansi = None


async def fuzz(seed: int, frames: int, abilities: Abilities) -> Witness:
    """Random keys until so many repaints were compared: a slow machine paints several keys at once."""
    chance = random.Random(seed)
    app = Witness(abilities, chance)
    number = 0
    async with app.run_test(size=SIZES[seed % 3]) as pilot:
        while app.frames < frames:
            number += 1
            if number % 25 == 0:
                await pilot.resize_terminal(*chance.choice(SIZES))
            await pilot.press(chance.choice(KEYS))
        app.line.flush()
        app.compare()
    return app


@pytest.mark.parametrize(
    "depth",
    [
        ColorSystem.TRUECOLOR,
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in (ColorSystem.EIGHT_BIT, ColorSystem.STANDARD)),
    ],
)
async def test_the_screen_is_the_one_that_textual_draws(depth: ColorSystem) -> None:
    app = await fuzz(int(depth), 20, Abilities(colours=depth))
    assert app.differing == []


@pytest.mark.parametrize(
    ("x", "drawn", "row"), [(3, "#", "ab #ef"), (2, "#", "ab# ef"), (1, "##", "a## ef"), (2, "国", "ab国ef")]
)
def test_a_wide_character_that_loses_a_half_is_blank(x: int, drawn: str, row: str) -> None:
    pens, cells = Pens(Abilities()), Cells(6, 1)
    cells.put(0, 0, Strip([Segment("ab한ef")]), pens, "utf-8")
    cells.put(x, 0, Strip([Segment(drawn)]), pens, "utf-8")
    assert "".join(cells.characters[0]) == row


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(1, 14))
async def test_over_more_than_a_thousand_repaints(seed: int) -> None:
    app = await fuzz(seed, 100, Abilities())
    assert app.differing == []
    assert app.bytes["ours"] < app.bytes["theirs"] / 2
