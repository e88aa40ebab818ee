"""In tmux, a terminal that we did not write: what it shows of our bytes is what it shows of Textual's own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import require_tool
from tests.tui.ptylab import PtyLab
from tests.tui.replay import Replay

TERMS = ("tmux-256color", pytest.param("screen-256color", marks=pytest.mark.exhaustive))


class Tmux:
    """A server of its own, its client on a terminal of 80x24, and what that terminal shows."""

    def __init__(self, directory: Path, term: str, environ: dict[str, str]) -> None:
        directory.mkdir()
        self._tmux = [require_tool("tmux"), "-S", str(directory / "socket"), "-f", str(directory / "tmux.conf")]
        (directory / "tmux.conf").write_text(
            f"set -g status off\nset -g default-terminal {term}\nset -s escape-time 10\n"
        )
        given = [part for name, value in environ.items() for part in ("-e", f"{name}={value}")]
        self.lab = PtyLab([*self._tmux, "new-session", *given, f"exec {sys.executable} -m tests.tui.sample_app"])
        self._terminal, self._seen = Replay(80, 24), 0

    def visible(self) -> list[list[tuple[object, ...]]]:
        """The screen once it stands still."""
        self.lab.settle(0.4)
        data = bytes(self.lab.output[self._seen :])
        self._seen += len(data)
        self._terminal.feed(data.decode())
        return [self._terminal.row(y) for y in range(24)]

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False)
        self.lab.close()


@pytest.fixture(params=TERMS)
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Tmux]]:
    """Our bytes, and Textual's own."""
    windows = [Tmux(tmp_path / str(number), request.param, env) for number, env in enumerate(({}, {"VCB_WIRE": "off"}))]
    yield windows
    for tmux in windows:
        tmux.close()


def test_tmux_shows_the_screen_that_textual_draws(pair: list[Tmux]) -> None:
    for tmux in pair:
        assert tmux.lab.wait_for(b"palette")
    for keys in (b"\t", b"\x1b[B", b"\x1b[6~", b"\x1bOQ", "日é".encode(), b"\x7f", b"\x1b", b"\x10", b"th"):
        for tmux in pair:
            begun = len(tmux.lab.output)
            tmux.lab.send(keys)
            assert tmux.lab.wait_for(rb"[\s\S]", begun), keys  # the screen stands still before the answer too
        for _ in range(10):  # a busy machine may leave one of them behind
            ours, theirs = (tmux.visible() for tmux in pair)
            if ours == theirs:
                break
        assert "vCenter" in "".join(str(cell[0]) for row in ours for cell in row)
        for y, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert mine == other, (keys, y)
