"""The connection tried out against the lab, in a process of its own."""

import subprocess
import sys

import pytest

from engine.config.options import Settings
from engine.jobs.connection_check import started
from engine.lab import Lab
from engine.secret import Secret


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab.start(tmp_path_factory.mktemp("lab"), seed="empty") as running:
        yield running


def settings(lab, **more):
    values = {"HOST": lab.host, "PORT": lab.port, "USERNAME": lab.user, "PASSWORD": Secret(lab.password),
              "CA_FILE": lab.ca_file, "TRANSPORT_MODE": "nbdssl"}  # fmt: skip
    return Settings.of(**(values | more))


async def told(given):
    return {step.name: step async for step in started(given)}


async def test_all_is_well(lab):
    steps = await told(settings(lab))
    assert [step.state for step in steps.values()] == ["ok"] * 5
    assert list(steps) == ["reachable", "certificate", "login", "version", "privileges"]


async def test_a_certificate_that_nobody_approved_tells_its_fingerprint(lab):
    steps = await told(settings(lab, CA_FILE=None))
    assert steps["certificate"].state == "failed"
    assert steps["certificate"].fingerprint in steps["certificate"].text
    approved = await told(settings(lab, CA_FILE=None, THUMBPRINT=steps["certificate"].fingerprint))
    assert approved["login"].state == "ok"


async def test_a_wrong_password_and_a_wrong_port(lab):
    steps = await told(settings(lab, PASSWORD=Secret("ganz-falsch-1")))
    assert steps["login"].state == "failed"
    assert "ganz-falsch-1" not in str(steps)
    assert (await told(settings(lab, PORT=1)))["reachable"].state == "failed"


def test_the_asking_side_loads_no_pyvmomi():
    code = "import sys, tui.panes.config; sys.exit('pyVmomi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
