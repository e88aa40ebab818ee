"""What makes the demo's proxy look lived in: a configuration that somebody pasted together, and jobs of the past."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config.document import open_document
from engine.config.effective import load
from engine.config.saving import read, save
from engine.jobs import supervisor
from engine.jobs.request import Act

_FOUND = """\
/*
 * The config.js of the old proxy, moved here in a hurry.
 * Half of it comes from a mail, and nobody knows who wrote the rest.
 */
HOST=\u201c127.0.0.1\u201d;
PORT="443";
USERNAME="administrator@vsphere.local";
PASSWORD_FILE="password.txt";
CA_FILE="ca.pem";
BACKUPROOT="/var/lib/vcb";
KEEP_FREE="64 MiB";

// the night shift wanted more in the log
LOGLEVEL="3";
LOGLEVEL="4";

TRANSPORT_MODE="nbd";
SNAPSHOT_POLICY="automatic";
PREEXISTING_VCB_SNAPSHOT="fail"
//PREEXISTING_MOUNTPOINT="fail";
MAX_RETRIES=2;
BACKOFF_TIME="10";
"""
"""Typographic quotes, a number twice, a missing semicolon, disk data in the clear: odd, and yet it works."""

_PAST = ("name:app01", "name:scratch01")
"""Two VMs have the first name: a failure. The second VM has nothing but independent disks: success with exceptions."""


def configuration(directory: Path, connection: Mapping[str, Any]) -> Path:
    """The demo's config.js, leading to the lab as it answers today; what else was changed in it stays."""
    file = directory / "config.js"
    if not file.exists():
        file.write_text(_FOUND, encoding="utf-8")
    _, base = read(file)
    document = open_document(file)
    for name, value in {**connection, "BACKUPROOT": directory / "backup"}.items():
        document = document.set(name, str(value))
    save(file, document.to_bytes(), base=base)
    return file


def past(file: Path) -> None:
    """Starts, when there are none yet, the jobs that the job list begins with. They end while one looks around."""
    if supervisor.jobs():
        return
    settings = load(file, {}, {})
    for spec in _PAST:
        supervisor.start(Act.BACKUP, [spec], settings)
