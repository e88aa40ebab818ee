"""Every sign that the console draws, with a twin for terminals that have no more than ASCII.

All signs are one cell wide. A state is always a sign or a word, and a colour on top of it: never a colour alone.
"""

import msgspec


class Glyphs(msgspec.Struct, frozen=True):
    ok: str
    warning: str
    error: str
    note: str
    running: str
    waiting: str
    cancelled: str
    skipped: str
    powered_on: str
    powered_off: str
    suspended: str
    template: str
    snapshot: str
    locked: str
    marked: str
    unmarked: str
    expanded: str
    collapsed: str
    leaf: str
    modified: str
    more: str
    separator: str
    rule: str
    upright: str
    focus: str
    bar_full: str
    bar_half: str
    bar_empty: str
    up: str
    down: str
    left: str
    right: str

    def bar(self, fraction: float, width: int) -> str:
        """A progress bar of `width` cells; `fraction` from 0 to 1. Never looks full, or empty, before it is."""
        halves = int(min(1.0, max(0.0, fraction)) * width * 2)
        if halves == 0 and fraction > 0:
            halves = 1
        full, half = divmod(halves, 2)
        drawn = self.bar_full * full + self.bar_half * half
        return drawn + self.bar_empty * (width - len(drawn))


UNICODE = Glyphs(
    ok="✓",
    warning="▲",
    error="✗",
    note="i",
    running="▶",
    waiting="◌",
    cancelled="■",
    skipped="⊘",
    powered_on="●",
    powered_off="○",
    suspended="◐",
    template="▤",
    snapshot="◆",
    locked="⊠",
    marked="▣",
    unmarked="□",
    expanded="▾",
    collapsed="▸",
    leaf="·",
    modified="●",
    more="…",
    separator="·",
    rule="─",
    upright="│",
    focus="▌",
    bar_full="━",
    bar_half="╸",
    bar_empty="─",
    up="↑",
    down="↓",
    left="←",
    right="→",
)

ASCII = Glyphs(
    ok="+",
    warning="!",
    error="X",
    note="i",
    running=">",
    waiting=".",
    cancelled="#",
    skipped="-",
    powered_on="*",
    powered_off="o",
    suspended="~",
    template="T",
    snapshot="S",
    locked="L",
    marked="x",
    unmarked="_",
    expanded="v",
    collapsed=">",
    leaf=" ",
    modified="*",
    more="~",
    separator="|",
    rule="-",
    upright="|",
    focus="|",
    bar_full="=",
    bar_half="-",
    bar_empty=".",
    up="^",
    down="v",
    left="<",
    right=">",
)

NAMES = Glyphs.__struct_fields__
