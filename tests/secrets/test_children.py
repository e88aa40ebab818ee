"""No process is started with our whole environment, where VCB_PASSWORD may stand."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.secrets.terminal import ROOT

STARTERS = {"run", "Popen", "call", "check_call", "check_output"}
FORBIDDEN = {"system", "popen", "execv", "execl", "execvp", "execlp", "spawnv", "spawnl", "posix_spawn", "posix_spawnp"}


def _calls(file: Path) -> Iterator[tuple[ast.Call, str, str]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            yield node, node.func.value.id, node.func.attr


def test_every_child_gets_an_environment_without_the_password() -> None:
    seen, wrong = 0, []
    for package in ("engine", "tui"):
        for file in (ROOT / package).rglob("*.py"):
            for call, module, name in _calls(file):
                place = f"{file.relative_to(ROOT)}:{call.lineno}"
                if module == "os" and name in FORBIDDEN:
                    wrong.append(place)
                if module != "subprocess" or name not in STARTERS:
                    continue
                seen += 1
                environ = next((ast.unparse(one.value) for one in call.keywords if one.arg == "env"), "")
                if "child_environment()" not in environ:
                    wrong.append(place)
    assert seen >= 4
    assert not wrong
