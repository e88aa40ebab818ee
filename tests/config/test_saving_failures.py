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
from tests.tools import require_tool

EACH = [
    pytest.param(scenario, mode, marks=[] if (scenario, mode) == ("replace", "kill") else [pytest.mark.exhaustive])
    for scenario in SCENARIOS
    for mode in MODES
]

ROOT = Path(__file__).parents[2]


def lines_of(*arguments: str) -> list[dict]:
    ended = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize(("scenario", "mode"), EACH)
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


SAVE = """
import sys
from pathlib import Path
from engine.config.saving import read, save
from engine.errors import VcbError
try:
    data, base = read(Path(sys.argv[1]))
    save(Path(sys.argv[1]), data + b"// more" * 10000 + b"\\n", base=base)
except VcbError as error:
    print(type(error).__name__, error, error.hint)
"""


def save_under(directory: Path, *command: str) -> str:
    environ = os.environ | {"VCB_STATE_DIR": str(directory / "state")}
    arguments = [*command, sys.executable, "-c", SAVE, str(directory / "config.js")]
    ended = subprocess.run(arguments, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    return ended.stdout


def test_a_real_limit_of_the_kernel_in_the_middle_of_the_file(tmp_path: Path) -> None:
    prlimit = require_tool("prlimit")
    (tmp_path / "config.js").write_bytes(b"PORT=443;\n")
    told = save_under(tmp_path, prlimit, "--fsize=20000")
    assert told.startswith("TargetFull")
    assert "is as it was: File too large" in told
    assert (tmp_path / "config.js").read_bytes() == b"PORT=443;\n"
    assert save_under(tmp_path) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.js", "state"]


@pytest.mark.parametrize("refusing", ["directory", "file"])
def test_a_directory_or_file_that_may_not_be_written_is_told(tmp_path: Path, refusing: str) -> None:
    place = tmp_path / "etc"
    place.mkdir()
    file = place / "config.js"
    file.write_bytes(b"PORT=443;\n")
    target = place if refusing == "directory" else file
    target.chmod(0o555 if refusing == "directory" else 0o444)
    unprivileged = [] if os.geteuid() else [require_tool("setpriv"), "--bounding-set=-dac_override"]
    try:
        told = save_under(place, *unprivileged)
    finally:
        place.chmod(0o755)
    assert told.startswith("TargetError")
    assert "is as it was: Permission denied" in told
    assert f"{target} must be writable for user {os.geteuid()}" in told
    assert file.read_bytes() == b"PORT=443;\n"
    assert list(place.iterdir()) == [file]


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
