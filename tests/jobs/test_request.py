"""job.toml: every setting comes back, no password goes in."""

from pathlib import Path

import pytest

from engine.config.effective import load
from engine.config.options import OPTIONS, Settings
from engine.errors import ConfigError
from engine.jobs.request import Act, Request, read_request
from engine.jobs.state import JobState


def test_settings_come_back_with_their_origins(tmp_path: Path) -> None:
    file = tmp_path / "vcb.toml"
    file.write_text('HOST = "vc"\nUSERNAME = "u"\nPASSWORD = "correct horse"\nKEEP_FREE = "5%"\nNFC_BUFFER = "1 MiB"\n')
    overrides = {"EXCLUDE_DISKS": "scsi0:1, Hard disk 3", "TRANSPORT_FALLBACK": "nbd,https", "CA_FILE": "ca.pem"}
    settings = load(file, {"VCB_LOGLEVEL": "5"}, overrides)
    asked = Request("j", Act.BACKUP, ("name:a", "b"), settings, adopt="snapshot-1", parallel=2)
    asked.save(tmp_path)
    assert "correct horse" not in (tmp_path / "job.toml").read_text()
    assert (tmp_path / "job.toml").stat().st_mode & 0o777 == 0o600
    back = read_request(tmp_path)
    assert (back.job, back.act, back.subjects, back.adopt, back.parallel, back.created) == (
        "j", Act.BACKUP, ("name:a", "b"), "snapshot-1", 2, asked.created,
    )  # fmt: skip
    assert back.part_id(1) == "j"
    assert back.part_id(2) == "j.2"
    for name, option in OPTIONS.items():
        expected = None if option.secret else settings.value_of(name)
        assert back.settings.value_of(name) == expected, name
        assert str(back.settings.origin(name)) == str(settings.origin(name)), name


def test_what_is_no_request(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_request(tmp_path)
    (tmp_path / "job.toml").write_text("job = 1\n")
    with pytest.raises(ConfigError, match="not the request of a job"):
        read_request(tmp_path)


def test_an_option_of_a_newer_version_is_left_out(tmp_path: Path) -> None:
    Request("j", Act.MOUNT, ("a",), Settings.of(HOST="vc")).save(tmp_path)
    path = tmp_path / "job.toml"
    path.write_text(path.read_text().replace("[settings]", "[settings]\nFROM_TOMORROW = 1"))
    assert read_request(tmp_path).settings.HOST == "vc"


def test_names_of_subjects_given_by_moref_are_known_from_the_start(tmp_path: Path) -> None:
    request = Request("20260101T000000Z-abc123", Act.BACKUP, ("moref:vm-7",), Settings.of(), names=("web01",))
    request.save(tmp_path)
    assert read_request(tmp_path).names == ("web01",)
    assert JobState.of(request).parts[0].vm == "web01"
