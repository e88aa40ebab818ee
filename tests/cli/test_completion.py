"""Completion scripts know every flag of the option table, and the words that a choice takes."""

import subprocess

import pytest

from engine.config.option_types import ChoiceOption
from engine.config.options import OPTIONS
from tests.tools import require_tool
from tui.cli.app import main
from tui.cli.flags import flag


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_option_and_its_words_are_completed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name, option in OPTIONS.items():
        known = flag(name) in script or f"-l {flag(name)[2:]}" in script
        assert known or option.secret, name
        if isinstance(option, ChoiceOption):
            assert all(word in script for word in option.choices), name
    assert "--password " not in script


def test_bash_completes_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    bash = require_tool("bash")
    for line, answer in (
        ("vcb config ch", "check"),
        ("vcb backup --transport-mode hot", "hotadd"),
        ("vcb inv", "inventory"),
    ):
        words = line.split()
        ask = f'COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _vcb; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run([bash], input=f"{script}\n{ask}\n", capture_output=True, text=True, check=True)
        assert answer in done.stdout.split(), done.stderr


def test_an_unknown_shell_is_a_usage_error() -> None:
    assert main(["completion", "csh"]) == 2
