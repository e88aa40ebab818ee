"""vcb serve: what NBD clients read is what was frozen, nobody can write, and nothing runs on afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import TargetError, VerifyError
from engine.flow import serve
from engine.flow.serve import NbdServers
from tests.restore.checks import frozen, point_of
from tests.tools import require_tool


def servers(proxy, point, sockets):
    return NbdServers(point, point.manifest.disk, port=0, sockets=sockets, report=proxy.report)


def compare(url: str, original: Path) -> None:
    command = [require_tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", url, original]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("export_format", ["compact", "flat", pytest.param("sparse", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("server", ["qemu-nbd", "nbdkit"])
def test_clients_read_what_was_frozen(proxy, tmp_path, monkeypatch, export_format, server):
    require_tool(server)
    which = shutil.which
    if server == "nbdkit":
        monkeypatch.setattr(serve.shutil, "which", lambda name: None if name == "qemu-nbd" else which(name))
    point = point_of(proxy, EXPORT_FORMAT=export_format)
    if server == "nbdkit" and export_format != "flat":
        with pytest.raises(TargetError, match="flat disks alone"), servers(proxy, point, tmp_path):
            pass
        return
    with servers(proxy, point, tmp_path) as running:
        assert [export.server for export in running.exports] == [server, server]
        for export, original in zip(running.exports, frozen(proxy, point), strict=True):
            compare(export.url, original)
            said = subprocess.run(
                [require_tool("nbdinfo"), "--json", export.url], check=True, capture_output=True, text=True
            )
            told = json.loads(said.stdout)["exports"][0]
            assert told["is_read_only"]
            assert told["export-size"] == export.capacity
    assert list(tmp_path.glob("*.sock")) == []


def test_a_point_that_lost_bytes_is_not_served(proxy, tmp_path):
    require_tool("qemu-nbd")
    point = point_of(proxy, EXPORT_FORMAT="flat")
    with (point.directory / point.manifest.disk[0].files[0]).open("ab") as descriptor:
        descriptor.write(b"# more\n")
    with pytest.raises(VerifyError), servers(proxy, point, tmp_path):
        pass


def test_a_port_that_is_taken_is_told(proxy, tmp_path):
    require_tool("qemu-nbd")
    point = point_of(proxy)
    taken = NbdServers(point, point.manifest.disk, port=proxy.lab.port, sockets=None, report=proxy.report)
    with pytest.raises(TargetError), taken:
        pass


def test_a_server_that_ends_by_itself_is_told(proxy, tmp_path):
    require_tool("qemu-nbd")
    point = point_of(proxy)
    with servers(proxy, point, tmp_path) as running:
        running._processes[0].kill()
        with pytest.raises(TargetError):
            running.run(CancelToken())


def test_the_command_runs_until_it_is_told_to_stop(proxy, tmp_path):
    require_tool("qemu-nbd")
    point = point_of(proxy)
    words = ["serve", str(point.directory), "--sockets", str(tmp_path), "--json", "--disk", "scsi0:1"]
    with subprocess.Popen([sys.executable, "-m", "tui.cli.app", *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        (export,) = json.loads(process.stdout.readline())["exports"]
        compare(export["url"], frozen(proxy, point)[1])
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    assert not (tmp_path / "scsi0-1.sock").exists()
