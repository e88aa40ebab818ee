"""Numbers and foreign texts in the form in which an operator reads them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len, set_cell_size

_UNITS = ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"))


def size(count: int | None) -> str:
    """Bytes in binary units, at most eight columns: 72.0 GiB, 412 MiB, 17 B; "unknown" for None."""
    if count is None:
        return "unknown"
    for power, unit in _UNITS:
        if count >= 1 << power:
            value = count / (1 << power)
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    return f"{count} B" if count else "0"


def rate(count: int, seconds: float) -> str:
    """Bytes a second, or "" where the time says nothing."""
    return f"{size(int(count / seconds))}/s" if seconds >= 0.05 else ""


def duration(seconds: float) -> str:
    if 0 < seconds < 0.1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def share(part: int, whole: int) -> str:
    """A percentage; "" when the whole is nothing."""
    return f"{100 * part / whole:.1f}%" if whole else ""


def age(created: str, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was, in the largest unit that fits."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return "unknown age"
    passed = (now or datetime.now(UTC)) - (then if then.tzinfo else then.replace(tzinfo=UTC))
    for unit, length in (
        ("year", timedelta(days=365)),
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    ):
        if (count := int(passed / length)) >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} old"
    return "new"


def clean(text: str) -> str:
    """One line without control characters: names come from vCenter and may hold anything, terminal codes included."""
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def fit(text: str, width: int) -> str:
    """The text in exactly `width` columns, cut with an ellipsis or padded; wide characters count two."""
    if cell_len(text) > width > 0:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    return set_cell_size(text, width)


def _visible(char: str) -> str:
    if char in "\n\t":
        return " "
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"


def levels_text(levels: Mapping[str, float]) -> str:
    """Which levels a disk was compressed at, the most used first, each with its share: `isal 2 71%, zlib 6 29%`."""
    return ", ".join(f"{clean(name)} {share:.0%}" for name, share in levels.items())
