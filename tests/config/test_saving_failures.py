"""Whatever happens to a save, the file is the old one or the new one, whole; and nobody's work is lost."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from engine.config.history import History
from engine.config.whole_file import new_content
from engine.state_directory import StateDirectory
from tests.config.failing_saves import MODES, SCENARIOS

ROOT = Path(__file__).parents[2]


def lines_of(*arguments: str) -> list[dict]:
    ended = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_system_call_of_a_save_may_fail(tmp_path: Path, scenario: str, mode: str) -> None:
    good, *runs = lines_of("tests.config.failing_saves", str(tmp_path), scenario, mode)
    assert good["ended"] == "saved"
    assert [line for line in [good, *runs] if line["problems"]] == []
    assert [line["at"] for line in runs] == list(range(1, len(good["calls"]) + 1))
    assert {"open", "write", "fsync", "flock", "rename", "unlink", "fchmod", "mkdir"} <= set(good["calls"])
    assert {line["content"] for line in runs} == {"old", "new"}
    if mode == "kill":
        assert {line["ended"] for line in runs} == {"killed"}
    else:
        assert {line["ended"] for line in runs} <= {"told", "saved"}


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def watched(name: str) -> None:
        function = getattr(os, name)

        def call(*args):
            subject = str(Path(f"/proc/self/fd/{args[0]}").readlink()) if isinstance(args[0], int) else str(args[1])
            happened.append(f"{name} {subject}")
            return function(*args)

        monkeypatch.setattr(os, name, call)

    file = tmp_path / "config.js"
    for name in ("write", "fsync", "rename"):
        watched(name)
    with new_content(file, b"x") as new:
        temporary = str(new.temporary)
        new.replace()
    assert happened == [f"write {temporary}", f"fsync {temporary}", f"rename {file}", f"fsync {tmp_path}"]


class Rivals:
    """Writers of one file in processes of their own, all of which have read it before the first one saves."""

    def __init__(self, directory: Path, names: list[str], rounds: int) -> None:
        self.file, self.state = directory / "config.js", directory / "state"
        self.file.write_text("".join(f"{name}=0;\n// of its own\n" for name in names))
        arguments = [sys.executable, "-m", "tests.config.rival_saves", str(self.file), str(self.state)]
        self.writers = [
            subprocess.Popen([*arguments, name, str(rounds)], cwd=ROOT, stdin=-1, stdout=-1, text=True)
            for name in names
        ]

    def race(self) -> list[dict]:
        for writer in self.writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
        for writer in self.writers:
            assert writer.stdin
            writer.stdin.write("go\n")
            writer.stdin.flush()
        return [json.loads(writer.communicate()[0]) for writer in self.writers]


def test_of_two_writers_at_once_one_is_told(tmp_path: Path) -> None:
    rivals = Rivals(tmp_path, ["LOGLEVEL", "MAX_RETRIES"], rounds=1)
    told = sum((Counter({"ConflictError": line["ConflictError"]}) for line in rivals.race()), Counter())
    assert told == {"ConflictError": 1}
    assert rivals.file.read_text() == "LOGLEVEL=1;\n// of its own\nMAX_RETRIES=1;\n// of its own\n"


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    names, rounds = ["LOGLEVEL", "MAX_RETRIES", "BACKOFF_TIME", "COMPRESSION_THREADS"], 5
    rivals = Rivals(tmp_path, names, rounds)
    versions = [number for line in rivals.race() for number in line["versions"]]
    assert rivals.file.read_text() == "".join(f"{name}={rounds};\n// of its own\n" for name in names)
    assert sorted(versions) == list(range(2, len(names) * rounds + 2))
    kept = History(rivals.file, StateDirectory(rivals.state)).versions()
    assert [version.number for version in kept] == list(range(1, len(versions) + 2))
    assert [version.parent for version in kept] == list(range(len(kept)))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
