from datetime import UTC, datetime, timedelta, timezone

import pytest

from engine.points import naming


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("web01", "web01-vm-7"),
        ("mail/backup", "mail_backup-vm-7"),
        ("mail%2fbackup", "mail_backup-vm-7"),
        ("..", "vm-vm-7"),
        ("../../etc/passwd", "etc_passwd-vm-7"),
        (".hidden", "hidden-vm-7"),
        ("trailing...", "trailing-vm-7"),
        ("日本語サーバ", "日本語サーバ-vm-7"),
        ("new\nline and space", "new_line_and_space-vm-7"),
        ("", "vm-vm-7"),
    ],
)
def test_directory_names_are_safe(name, directory):
    assert naming.vm_directory(name, "vm-7") == directory


def test_long_names_stay_valid_utf8_and_short():
    directory = naming.vm_directory("ü" * 300, "vm-7")
    assert len(directory.encode()) <= 100
    assert directory.endswith("-vm-7")


def test_points_are_named_by_utc_time():
    moment = datetime(2026, 11, 22, 3, 15, 3, tzinfo=timezone(timedelta(hours=1)))
    assert naming.point_name(moment) == "20261122T021503Z"
    assert naming.point_name(moment) < naming.point_name(datetime(2026, 11, 22, 2, 15, 4, tzinfo=UTC))


def test_disk_files():
    assert naming.disk_file("scsi0:1") == "scsi0-1.vmdk"
    assert naming.flat_file("scsi0:1") == "scsi0-1-flat.vmdk"
