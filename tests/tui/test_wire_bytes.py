"""The bytes of a repaint: what changed, by the cheapest way there."""

import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from tests.tui.replay import Replay
from tui.wire.abilities import Abilities
from tui.wire.line import ASK, SYNC_END, SYNC_START, Line
from tui.wire.pacing import Pacing
from tui.wire.pens import Pens


class Sent:
    """A line whose terminal answers at once."""

    def __init__(self, abilities: Abilities | None = None, size: tuple[int, int] = (20, 3)) -> None:
        self.data = ""
        self.line = Line(abilities or Abilities(), Pacing(lambda: 0.0), self._send)
        self.line.resize(*size)

    def _send(self, data: str) -> None:
        self.data += data
        self.line.pacing.answered()

    def rows(self, *rows: str | list[Segment]) -> str:
        """Draws whole rows from the top; returns what was sent."""
        self.data = ""
        strips = [[Strip([Segment(row)] if isinstance(row, str) else row)] for row in rows]
        self.line.paint(LayoutUpdate(strips, Region(0, 0, self.line.size[0], len(rows))), None)  # type: ignore[arg-type]
        return self.data


def test_what_has_not_changed_costs_nothing() -> None:
    sent = Sent()
    assert sent.rows("one".ljust(20), "two".ljust(20))
    assert sent.rows("one".ljust(20), "two".ljust(20)) == ""


def test_only_the_changed_cells_are_sent() -> None:
    sent = Sent()
    sent.rows("one two three".ljust(20))
    assert sent.rows("one TWO three".ljust(20)) == "\x1b[1;5HTWO" + ASK


def test_a_short_gap_is_drawn_again_rather_than_jumped_over() -> None:
    sent = Sent()
    sent.rows("a b c".ljust(20))
    assert sent.rows("A b C".ljust(20)) == "\rA b C" + ASK


def test_blanks_to_the_end_of_the_line_are_erased() -> None:
    sent = Sent()
    sent.rows("x" * 20)
    assert sent.rows("xx".ljust(20)) == "\x1b[1;3H\x1b[K" + ASK


def test_long_blanks_within_a_line_are_erased_where_erasing_keeps_the_colour() -> None:
    green = Style(bgcolor="green")
    for abilities, erased in ((Abilities(), True), (Abilities(erases_in_colour=False), False)):
        sent = Sent(abilities, (40, 1))
        sent.rows("x" * 40)
        data = sent.rows([Segment("x" * 4), Segment(" " * 30, green), Segment("x" * 6)])
        assert ("\x1b[30X" in data) is erased


@pytest.mark.parametrize("old", ["日本語  ab", "a日本語 ab", "ab", "   日  x"])
@pytest.mark.parametrize("new", ["日本語  ab", " 本 語日b", "ab日", "e\u0301t\u00e9 日"])
def test_wide_characters_are_whole_whatever_was_there_before(old: str, new: str) -> None:
    sent, terminal, fresh = Sent(), Replay(20, 3), Replay(20, 3)
    for text in (old, new):
        terminal.feed(sent.rows([Segment(text), Segment(" " * (20 - Strip([Segment(text)]).cell_length))]))
    fresh.feed(new)
    assert terminal.row(0) == fresh.row(0)


def test_graphemes_that_terminals_measure_differently_do_not_shift_what_follows() -> None:
    sent = Sent()
    data = sent.rows([Segment("\N{WHITE HEAVY CHECK MARK}\ufe0f ok"), Segment(" " * 15)])
    assert "\ufe0f\x1b[1;3H ok" in data


def test_control_characters_of_a_log_cannot_command_the_terminal() -> None:
    assert "\x1b]" not in Sent().rows("\x1b]52;c;ZXZpbA==\x07".ljust(20))
    assert "\x9b" not in Sent().rows("\x9b2J e\u0301\x1b[0m".ljust(20))


def test_a_charset_without_a_character_gets_question_marks_of_its_width() -> None:
    data = Sent(Abilities(charset="ascii")).rows([Segment("日é|"), Segment(" " * 16)])
    assert "???|" in data


def test_big_repaints_are_bracketed_for_terminals_that_know_how() -> None:
    sent = Sent(size=(200, 4))
    sent.line.synchronized = True
    data = sent.rows(*("".join(chr(33 + (x * y) % 90) for x in range(200)) for y in (1, 3, 7, 11)))
    assert data.startswith(SYNC_START)
    assert data.endswith(SYNC_END + ASK)
    assert SYNC_START not in sent.rows("x" * 200)


def test_only_what_differs_between_two_looks_is_sent() -> None:
    pens = Pens(Abilities())
    red, bold_red = pens.of(Style(color="#ff0000")), pens.of(Style(color="#ff0000", bold=True))
    assert pens.change(red, bold_red) == "\x1b[1m"
    assert pens.change(bold_red, red) == "\x1b[22m"
    assert pens.change(red, pens.of(None)) == "\x1b[m"
    assert pens.change(pens.of(Style(bold=True, dim=True, color="red")), pens.of(Style(dim=True, color="red"))) in (
        "\x1b[22;2m",
        "\x1b[;2;31m",
    )
    assert pens.of(Style(meta={"@click": "a"})) == pens.of(None)


@pytest.mark.parametrize(
    ("depth", "code"),
    [(ColorSystem.TRUECOLOR, "38;2;255;0;0"), (ColorSystem.EIGHT_BIT, "38;5;196"), (ColorSystem.STANDARD, "31")],
)
def test_colours_are_those_that_the_terminal_has(depth: ColorSystem, code: str) -> None:
    pens = Pens(Abilities(colours=depth))
    assert pens.change(0, pens.of(Style(color="#ff0000"))) == f"\x1b[{code}m"


def test_a_vt100_gets_its_own_four_attributes_and_no_colour() -> None:
    abilities = Abilities.of({"TERM": "vt100"}, ColorSystem.TRUECOLOR)
    pens = Pens(abilities)
    look = pens.of(Style(color="red", bgcolor="blue", bold=True, italic=True, reverse=True))
    assert pens.change(pens.of(None), look) == "\x1b[;1;7m"
    assert pens.change(look, pens.of(Style(bold=True))) == "\x1b[;1m"


def test_links_are_opened_and_closed() -> None:
    pens = Pens(Abilities())
    link = pens.of(Style(link="https://example.org"))
    assert pens.change(0, link) == "\x1b]8;;https://example.org\x1b\\"
    assert pens.change(link, 0) == "\x1b]8;;\x1b\\"


def test_a_blank_needs_no_pen_of_its_own() -> None:
    grey = Style(color="#888888", bgcolor="#101010")
    sent = Sent()
    data = sent.rows(
        [Segment("a", grey), Segment("  ", Style(color="#ff0000", bgcolor="#101010")), Segment("b" * 17, grey)]
    )
    assert "a  b" in data
