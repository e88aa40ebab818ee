from datetime import UTC, datetime

import pytest

from tui.figures import age, clean, duration, fit, rate, share, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (72 << 30, "72.0 GiB"),
        ((1 << 30) - 1, "1024 MiB"),
        (412 << 20, "412 MiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_size(count: int | None, text: str) -> None:
    assert size(count) == text
    assert len(size(count)) <= 8


def test_durations_and_rates() -> None:
    assert [duration(value) for value in (0, 0.04, 59.94, 75, 3600)] == [
        "0.0 s",
        "40 ms",
        "59.9 s",
        "1 min 15 s",
        "1 h 00 min",
    ]
    assert rate(100 << 20, 2) == "50.0 MiB/s"
    assert rate(100, 0) == ""
    assert share(1, 3) == "33.3%"
    assert share(1, 0) == ""


@pytest.mark.parametrize(
    ("created", "text"),
    [
        ("2026-01-02T03:04:00+00:00", "new"),
        ("2026-01-02T02:00:00", "1 hour old"),
        ("2025-12-30T00:00:00Z", "3 days old"),
        ("2020-01-01T00:00:00+00:00", "6 years old"),
        ("soon", "unknown age"),
    ],
)
def test_age(created: str, text: str) -> None:
    assert age(created, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == text


def test_foreign_texts_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\nc\u202ed\x9b") == "a\\x1b[2Jb c\\u202ed\\x9b"
    assert clean("日本語 é") == "日本語 é"


def test_columns_count_wide_characters_twice() -> None:
    assert fit("日本語", 7) == "日本語 "
    assert fit("日本語", 5) == "日本…"
    assert fit("abc", 2) == "a…"
