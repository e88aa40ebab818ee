"""A marker password, given in each of the ways, must be found nowhere but where it was put.

Every command runs as a process at LOGLEVEL 6, against a lab that refuses it, quotes it, breaks down and cuts
connections. Its files, its output, and the arguments and environment of its processes (/proc) are searched.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.lab import Lab
from engine.lab.faults import Rule
from engine.lab.vm import VM
from tests.secrets.leaks import Watch, family, forms, leaking_files, leaks, read_proc, wait_until
from tests.secrets.terminal import ROOT, run_on_terminal
from tui.cli.app import application

MARKER = "M4rk<&\"ü'é+/%zQ9~x"
USER = "backup@vsphere.local"
ENTRY = [sys.executable, "-m", "tui.cli.app"]
WAYS = ("config.js", "toml", "password file", "environment", "systemd credential", "keyring")
QUICK_WAY = "password file"
EACH_WAY = [way if way == QUICK_WAY else pytest.param(way, marks=pytest.mark.exhaustive) for way in WAYS]
UNCLOSED = f'PASSWORD="{MARKER}'
NO_LOGIN = {"demo", "lab"}
"""Commands that run for long and know no vCenter; `demo` has a test of its own."""


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="small", guest=False) as lab:
        yield lab


@dataclass
class Proxy:
    """A backup proxy's whole world in one directory. `stores` may hold the marker; nothing else may."""

    root: Path
    lab: Lab
    environ: dict[str, str]
    config: Path
    stores: set[Path]
    in_environment: bool = False

    def run(self, arguments: Sequence[str], stdin: str = "") -> "Ran":
        process = subprocess.Popen(
            [*ENTRY, *arguments], env=self.environ, cwd=self.root / "cwd", stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        watch = Watch(process.pid, MARKER, self.in_environment)
        try:
            out, err = process.communicate(stdin.encode(), timeout=100)
        finally:
            watch.end()
            process.kill()
        said = (out + err).decode(errors="replace")
        assert not watch.told, said
        assert not leaks(out + err, MARKER), f"{arguments} tells the password:\n{said}"
        self.search()
        return Ran(process.returncode, said, watch.programs)

    def search(self) -> None:
        """Every file of the proxy. The demo's lab is a server of its own, with disks of 72 GiB."""
        for directory in self.root.iterdir():
            for place in directory.iterdir() if directory.name == "demo" else [directory]:
                if place != self.root / "demo" / "lab":
                    found = {file: names for file, names in leaking_files(place, MARKER) if not self._may_hold(file)}
                    assert not found

    def _may_hold(self, file: Path) -> bool:
        """A store; or, where the configuration is one, what the operator made of it: a conversion, its history."""
        if file in self.stores:
            return True
        copy = file.stem == "converted" or file.parent == self.root / "state" / "history"
        return copy and self.config in self.stores and file.stat().st_mode & 0o777 == 0o600


@dataclass
class Ran:
    code: int
    said: str
    programs: set[str]


Given = Callable[[str], Proxy]


@pytest.fixture
def given(tmp_path: Path, lab: Lab) -> Given:
    """A function that gives the marker to a proxy in one way. The user exists in the lab only where a test says so."""

    def give(way: str) -> Proxy:
        for name in ("cwd", "root", "home", "tmp", "credentials"):
            (tmp_path / name).mkdir()
        config = tmp_path / ("vcb.toml" if way == "toml" else "config.js")
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}",
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path / "tmp"),
            "VCB_STATE_DIR": str(tmp_path / "state"),
            "PYTHON_KEYRING_BACKEND": "tests.secrets.file_keyring.FileKeyring",
            "TEST_KEYRING": str(tmp_path / "keyring.json"),
            "LANG": "C.UTF-8",
        }
        proxy = Proxy(tmp_path, lab, environ, config, set(), way == "environment")
        values: dict[str, str] = {
            "BACKUPROOT": str(tmp_path / "root"), "HOST": lab.host, "PORT": str(lab.port), "USERNAME": USER,
            "CA_FILE": str(lab.ca_file), "TRANSPORT_MODE": "nbdssl", "KEEP_FREE": "0", "LOGLEVEL": "6",
            "VM_LOOKUP_METHOD": "name", "MAX_RETRIES": "1", "BACKOFF_TIME": "0",
        }  # fmt: skip
        _put(proxy, way, values)
        join = " = " if way == "toml" else "="
        end = "\n" if way == "toml" else ";\n"
        config.write_text("".join(f"{name}{join}{_literal(value)}{end}" for name, value in values.items()))
        config.chmod(0o600)
        return proxy

    return give


def _literal(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _put(proxy: Proxy, way: str, values: dict[str, str]) -> None:
    if way in ("config.js", "toml"):
        values["PASSWORD"] = MARKER
        proxy.stores.add(proxy.config)
    elif way == "password file":
        values["PASSWORD_FILE"] = str(_private(proxy, proxy.root / "password"))
    elif way == "environment":
        proxy.environ["VCB_PASSWORD"] = MARKER
    elif way == "systemd credential":
        proxy.environ["CREDENTIALS_DIRECTORY"] = str(proxy.root / "credentials")
        _private(proxy, proxy.root / "credentials" / "vcb-password")
    elif way == "keyring":
        entry = {f"vcb:{proxy.lab.host} {USER}": MARKER}
        _private(proxy, proxy.root / "keyring.json", json.dumps(entry))


def _private(proxy: Proxy, file: Path, text: str = MARKER + "\n") -> Path:
    file.write_text(text)
    file.chmod(0o600)
    proxy.stores.add(file)
    return file


def commands(proxy: Proxy) -> dict[str, list[str]]:
    """A command line for each command there is; one that this table does not know gets the configuration alone."""
    file, other = str(proxy.config), ".js" if proxy.config.suffix == ".toml" else ".toml"
    config = ["--config", file]
    vm = next(one for one in proxy.lab.vsphere.objects.values() if isinstance(one, VM) and one.disks)
    known = {
        "inventory": [*config, "--json"],
        "plan": [f"moref:{vm.id}", *config],
        "backup": [f"moref:{vm.id}", *config, "--json"],
        "mount": [f"moref:{vm.id}", *config],
        "unmount": [str(proxy.root / "root" / "absent"), *config],
        "config check": [file],
        "config show": ["--origin", *config],
        "config set": [file, "MAX_RETRIES=2", "--yes"],
        "config repair": [file, "--yes"],
        "config diff": [file],
        "config history": [file],
        "config undo": [file, "--yes"],
        "config redo": [file, "--yes", "--json"],
        "config convert": [file, str(proxy.root / f"converted{other}"), "--yes"],
        "config password": ["--file", str(proxy.root / "new"), "--stdin", "--test", *config],
    }
    lines = {}
    app = application()
    for name in app:
        if name.startswith("-") or name in NO_LOGIN:
            continue
        inner = [inside for inside in app[name] if not inside.startswith("-")] if name == "config" else []
        for words in [f"{name} {one}" for one in inner] or [name]:
            lines[words] = [*words.split(), *known.get(words, config)]
    return lines


NEEDS_LOGIN = ("inventory", "plan", "backup", "mount", "unmount", "config password")


def share(names: Iterable[str], way: str) -> list[str]:
    """All of them for the way of the quick run; for each other one its share, so that no product is run."""
    chosen = list(names)
    return chosen if way == QUICK_WAY else chosen[WAYS.index(way) :: len(WAYS)]


def test_the_search_finds_every_form(tmp_path: Path) -> None:
    assert len(forms(MARKER)) > 15
    for number, form in enumerate(forms(MARKER).values()):
        (tmp_path / f"{number}.bin").write_bytes(b"before " + form + b" after")
    assert len(list(leaking_files(tmp_path, MARKER))) == len(forms(MARKER))
    environ = os.environ | {"SECRET": MARKER}
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait", MARKER], env=environ, start_new_session=True) as shell:
        watch = Watch(shell.pid, MARKER, in_environment=True)
        wait_until(lambda: {("environ", "sleep 60 ", "plain"), ("cmdline", "plain")} <= _pairs(watch))
        watch.end()
        os.killpg(shell.pid, signal.SIGKILL)


def _pairs(watch: Watch) -> set[tuple[str, ...]]:
    return {*watch.told, *((what, form) for what, _, form in watch.told)}


@pytest.mark.parametrize("way", EACH_WAY)
def test_a_refused_login(given: Given, lab: Lab, way: str) -> None:
    proxy = given(way)
    quoting = f'cannot log in {USER} with "{MARKER}"'
    lab.faults.add(Rule("Login", fault="InvalidLogin", message=quoting, last=0))
    lines = commands(proxy)
    for name in dict.fromkeys(["backup", *(NEEDS_LOGIN if way == QUICK_WAY else lines)]):
        before, line = len(lab.faults.log), lines[name]
        ran = proxy.run(line, stdin=MARKER)
        if name in NEEDS_LOGIN:
            assert ran.code == 1, ran.said
            assert len(lab.faults.log) == before + 1, f"{name} logged in more than once:\n{ran.said}"
            assert "***" in ran.said, f"{name} shows nothing of what the server said:\n{ran.said}"


@pytest.mark.parametrize("way", EACH_WAY)
def test_a_login_that_works_and_a_server_that_does_not(given: Given, lab: Lab, way: str) -> None:
    proxy = given(way)
    lab.vsphere.grant(USER, MARKER, "Admin")
    lines = commands(proxy)
    lab.faults.add(Rule("CreateSnapshotEx_Task", fault="SnapshotFault", message=f"no: {MARKER}"))
    lab.faults.add(Rule("nfc.read", action="drop", phase="data", first=2))
    ran = proxy.run(lines["backup"])
    assert ran.code == 1, ran.said
    assert "Login" in ran.said
    assert "<password" in ran.said, "LOGLEVEL 6 shows the request itself"
    ran = proxy.run(lines["backup"])  # meets the cut connection
    assert ran.code in (0, 1, 3), ran.said
    lab.faults.clear()
    for name in share(("inventory", "plan", "mount"), way):
        ran = proxy.run(lines[name])
        assert ran.code in (0, 3), ran.said
    if way == QUICK_WAY:
        mounted = next(entry for entry in (proxy.root / "root").iterdir() if entry.name.startswith("fullvm"))
        assert proxy.run(["unmount", str(mounted), "--config", str(proxy.config)]).code == 0


_DEFECT = """
from engine.vsphere import login
def broken(self, session_manager, report):
    password = self._password.reveal()
    raise RuntimeError(f"{password!r} {password.encode()!r} {password}")
login.PasswordLogin.__call__ = broken
"""


@pytest.mark.parametrize("way", EACH_WAY)
def test_a_defect_whose_traceback_quotes_the_password(given: Given, way: str) -> None:
    proxy = given(way)
    proxy.environ["PYTHONPATH"] = f"{proxy.root / 'defect'}:{ROOT}"  # for the processes that a command starts, too
    (proxy.root / "defect").mkdir()
    (proxy.root / "defect" / "sitecustomize.py").write_text(_DEFECT)
    lines = commands(proxy)
    for name in share(NEEDS_LOGIN, way):
        ran = proxy.run(lines[name], stdin=MARKER)
        assert ran.code == 1, ran.said
        assert "RuntimeError" in ran.said


def test_a_password_that_somebody_types(given: Given, lab: Lab) -> None:
    proxy = given("prompt")
    lab.faults.add(Rule("Login", fault="InvalidLogin", message=f"no: {MARKER}", last=0))
    for name in ("inventory", "plan", "backup", "mount", "unmount"):
        line = [*ENTRY, *commands(proxy)[name]]
        code, shown = run_on_terminal(line, proxy.environ, [(f"Password of {USER}", MARKER)])
        assert code == 1, shown
        assert not leaks(shown.encode(), MARKER), shown
        proxy.search()


@pytest.mark.parametrize(
    "broken",
    [
        UNCLOSED,
        *(
            pytest.param(line, marks=pytest.mark.exhaustive)
            for line in (f"PASSWORD={MARKER}", f"PASSWORD=“{MARKER}”;", f'PASWORD="{MARKER}";')
        ),
    ],
    ids=["unclosed", "bare", "typographic", "misspelt"],
)
def test_a_mistake_in_the_line_of_the_password_does_not_show_it(given: Given, broken: str) -> None:
    """The quick one by every command that reads the file; each other one by those that quote it."""
    proxy = given("config.js")
    text = proxy.config.read_text()
    proxy.config.write_text(text[: text.index("PASSWORD=")] + broken + "\n")
    for name, line in commands(proxy).items():
        quoting = name in ("config check", "config show", "inventory")
        if quoting or (broken == UNCLOSED and name.startswith("config")):
            proxy.run(line)


def test_the_demo_and_its_children(given: Given) -> None:
    proxy = given("environment")
    proxy.stores.clear()
    ran = proxy.run(["demo", "--headless", "--json", "--loglevel", "6", "--keep", str(proxy.root / "demo")])
    assert ran.code == 0, ran.said
    assert any("engine.lab" in program for program in ran.programs)


def test_a_crash_leaves_no_core_file(given: Given, lab: Lab) -> None:
    proxy = given("password file")
    lab.faults.add(Rule("Login", action="delay", delay=60))
    line = commands(proxy)["inventory"]
    shell = ["/bin/sh", "-c", 'ulimit -S -c unlimited; exec "$@"', "sh"]
    process = subprocess.Popen(
        [*shell, *ENTRY, *line], env=proxy.environ, cwd=proxy.root / "cwd", stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: lab.faults.log)
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4] == "0"
    process.send_signal(signal.SIGABRT)
    assert process.wait(30) == -signal.SIGABRT
    assert not list((proxy.root / "cwd").iterdir())


def test_a_worker_that_crashes_and_what_proc_shows_of_it(given: Given, lab: Lab) -> None:
    """While it logs in, with a limit that would allow a core file."""
    proxy = given("environment")
    lab.faults.add(Rule("Login", action="delay", delay=60))
    process = subprocess.Popen(
        [*ENTRY, *commands(proxy)["backup"]], env=proxy.environ, cwd=proxy.root / "cwd", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_until(lambda: lab.faults.log)
    (worker,) = (pid for pid in family(process.pid) if b"engine.jobs.worker" in read_proc(pid, "cmdline"))
    assert leaks(read_proc(process.pid, "environ"), MARKER), "where it was put, it can be found"
    for name in ("cmdline", "environ"):
        assert read_proc(worker, name)
        assert not leaks(read_proc(worker, name), MARKER)
    before = set(Path("/").glob("core*"))
    resource.prlimit(worker, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(worker, signal.SIGABRT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1, said
    assert set(Path("/").glob("core*")) == before, "where the worker works"
    assert not leaks(said, MARKER)
    proxy.search()


def test_a_password_in_an_argument_is_refused_and_not_repeated(given: Given) -> None:
    proxy = given("keyring")
    before = proxy.config.read_bytes()
    for line in (
        ["plan", "x", f"--password={MARKER}"],
        ["plan", "x", "--password", MARKER],
        ["plan", "x", f"--set=PASSWORD={MARKER}"],
        ["plan", "x", "--set", f"PASSWORD={MARKER}"],
        ["config", "set", str(proxy.config), f"PASSWORD={MARKER}", "--yes"],
        ["config", "password", f"--password={MARKER}"],
    ):
        done = subprocess.run([*ENTRY, *line], env=proxy.environ, cwd=proxy.root, capture_output=True, check=False)
        assert done.returncode == 2
        assert not leaks(done.stdout + done.stderr, MARKER), done.stderr.decode()
    assert proxy.config.read_bytes() == before
    proxy.search()
