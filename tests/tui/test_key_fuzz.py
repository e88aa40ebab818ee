"""Keys struck at random do no harm: the console neither ends nor fails."""

import random
import sys
from pathlib import Path

import pytest

from tests.tui.ptylab import PtyLab

KEYS = (
    *(b"\t", b"\x1b[Z", b"\r", b" ", b"\x7f", b"\x1b"),
    *(
        b"\x1b[A",
        b"\x1b[B",
        b"\x1b[C",
        b"\x1b[D",
        b"\x1b[5~",
        b"\x1b[6~",
        b"\x1b[H",
        b"\x1b[F",
        b"\x1b[1;5H",
        b"\x1b[1;5F",
    ),
    *(
        b"\x1bOP",
        b"\x1bOQ",
        b"\x1bOR",
        b"\x1bOS",
        b"\x1b[15~",
        b"\x1b[17~",
        b"\x1b[18~",
        b"\x1b[19~",
        b"\x1b[20~",
        b"\x1b[21~",
    ),
    *(bytes([code]) for code in b"\x01\x02\x04\x05\x06\x0b\x0c\x0e\x0f\x10\x12\x14\x15\x16\x17\x18\x19"),
    *(bytes([code]) for code in b"abcdefghijklmnoprstuvwxyzGNFESU0123456789/?:.,*+-=<>[]{}!~"),
    *(
        "日".encode(),
        "é".encode(),
        b"\xff",
        b"\x1b[200~pasted\ntext\x1b[201~",
        b"\x1b[<0;20;5M\x1b[<0;20;5m",
        b"\x1b[<65;9;9M",
    ),
    *(b"\x1b[1;1R", b"\x1b[I", b"\x1b[O", b"\x1b[999~"),
)
SIZES = ((80, 24), (120, 40), (60, 15), (250, 70))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.endurance) for seed in range(2, 10))])
def test_keys_at_random_neither_end_the_console_nor_break_it(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
    with PtyLab((sys.executable, "-m", "tests.tui.endless_console"), size=SIZES[seed % 3], environ=home) as lab:
        lab.settle(0.5)
        struck: list[bytes] = []
        for number in range(100):
            key = chance.choice(KEYS)
            struck.append(key)
            lab.send(key)
            if number % 30 == 29:
                lab.resize(*chance.choice(SIZES))
            lab.settle(0.15 if key == b"\x1b" else 0.02, 5)
            assert lab.alive, (struck[-8:], bytes(lab.output[-3000:]).decode(errors="replace"))
        lab.send(b"\x1b")
        lab.settle(0.3, 10)
        assert lab.wait_end(0) is None
        assert b"Traceback" not in lab.output
