"""The sample files are what the option table says, and what they say is read."""

import re
from pathlib import Path

import pytest

from engine.config import samples
from engine.config.effective import load
from engine.config.options import OPTIONS
from engine.config.rules import require_runnable

DIRECTORY = Path(__file__).parents[2] / "sample_configs"


@pytest.mark.parametrize("name", samples.files())
def test_sample_is_in_step_with_the_table(name: str) -> None:
    assert (DIRECTORY / name).read_text(encoding="utf-8") == samples.files()[name]


@pytest.mark.parametrize("name", samples.files())
def test_sample_is_read_without_findings(name: str) -> None:
    assert require_runnable(load(DIRECTORY / name, {}, {})) == []


@pytest.mark.parametrize(("name", "sign"), [("config.js", "// "), ("vcb.toml", "# ")])
def test_every_commented_line_is_valid_when_uncommented(tmp_path: Path, name: str, sign: str) -> None:
    text = re.sub(rf"^{sign}(?=[A-Z_]+ ?=)", "", (DIRECTORY / name).read_text(), flags=re.MULTILINE)
    file = tmp_path / name
    file.write_text(text)
    file.chmod(0o600)
    settings = load(file, {}, {})
    assert all(settings.origin(option).file for option in OPTIONS)


def test_markdown_has_a_row_for_every_option() -> None:
    text = samples.markdown()
    assert all(f"| `{name}`" in text for name in OPTIONS)
