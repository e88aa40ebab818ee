"""The sources of the password, in their order."""

import os
from collections.abc import Callable
from pathlib import Path

import keyring
import pytest
from keyring.errors import NoKeyringError

from engine.config.effective import load
from engine.config.options import Settings
from engine.config.secrets import child_environment, find_password, password_for, with_password
from engine.errors import ConfigError
from engine.secret import Secret

Store = Callable[[dict[tuple[str, str], str]], None]


@pytest.fixture(autouse=True)
def keyring_holds(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Until told otherwise the machine has no keyring at all."""

    def absent(service: str, username: str) -> str | None:
        raise NoKeyringError

    def holds(entries: dict[tuple[str, str], str]) -> None:
        monkeypatch.setattr(keyring, "get_password", lambda service, username: entries.get((service, username)))

    monkeypatch.setattr(keyring, "get_password", absent)
    return holds


def settings(**values: object) -> Settings:
    return Settings.of(HOST="vc", USERNAME="u", **values)


def secret_file(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_order_of_the_sources(tmp_path: Path, keyring_holds: Store) -> None:
    file = secret_file(tmp_path / "pw", "from-file\n")
    secret_file(tmp_path / "vcb-password", "from-systemd")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    keyring_holds({("vcb:vc", "u"): "from-keyring"})
    assert password_for(settings(PASSWORD="in-config", PASSWORD_FILE=file), None, environ) == Secret("in-config")
    assert password_for(settings(PASSWORD_FILE=file), None, environ) == Secret("from-file")
    assert password_for(settings(), None, environ) == Secret("from-systemd")
    assert password_for(settings(), lambda: "typed", {}) == Secret("from-keyring")
    keyring_holds({})
    assert password_for(settings(), lambda: "typed", {}) == Secret("typed")


def test_no_source_is_an_error_that_names_ways_out() -> None:
    with pytest.raises(ConfigError, match="no password for u at vc") as caught:
        password_for(settings(), None, {})
    assert "PASSWORD_FILE" in caught.value.hint


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_password_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    file = secret_file(tmp_path / "pw", "x", mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
        password_for(settings(PASSWORD_FILE=file), None, {})


@pytest.mark.parametrize(
    ("content", "password"), [("pw\r\n", "pw"), (" p w \n\n", " p w "), ("\ufeffpässwort", "pässwort")]
)
def test_the_first_line_counts_as_it_is(tmp_path: Path, content: str, password: str) -> None:
    file = secret_file(tmp_path / "pw", content)
    assert password_for(settings(PASSWORD_FILE=file), None, {}).reveal() == password


def test_unusable_password_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        password_for(settings(PASSWORD_FILE=tmp_path / "absent"), None, {})
    with pytest.raises(ConfigError, match="no password in its first line"):
        password_for(settings(PASSWORD_FILE=secret_file(tmp_path / "empty", "\nx\n")), None, {})
    with pytest.raises(ConfigError, match="more than 4096 bytes"):
        password_for(settings(PASSWORD_FILE=secret_file(tmp_path / "long", "x" * 5000)), None, {})
    with pytest.raises(ConfigError, match="control character") as caught:
        password_for(settings(PASSWORD_FILE=secret_file(tmp_path / "odd", "pa\x1bss\n")), None, {})
    assert "pa\x1bss" not in str(caught.value)


def test_only_a_line_feed_ends_the_password(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "pw", "a\u2028b\x85c\n")
    assert password_for(settings(PASSWORD_FILE=file), None, {}).reveal() == "a\u2028b\x85c"


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "pw", "x")
    try:
        os.chown(file, 12345, -1)
    except PermissionError:
        pytest.skip("only root can give a file away")
    with pytest.raises(ConfigError, match="belongs to another user"):
        password_for(settings(PASSWORD_FILE=file), None, {})


def test_a_systemd_credential_shows_its_acl_as_the_groups_right(tmp_path: Path) -> None:
    credential = secret_file(tmp_path / "vcb-password", "from-systemd", 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert password_for(settings(), None, environ) == Secret("from-systemd")
    credential.chmod(0o444)
    with pytest.raises(ConfigError, match="mode 0444"):
        password_for(settings(), None, environ)


def test_each_origin_is_told(tmp_path: Path, keyring_holds: Store) -> None:
    file = secret_file(tmp_path / "pw", "from-file\n")
    config = secret_file(tmp_path / "config.js", 'HOST="vc";\nPASSWORD="in-config";\n')
    secret_file(tmp_path / "vcb-password", "from-systemd")
    here = {"HOST": "vc", "USERNAME": "u"}
    assert find_password(load(config, {}, {"USERNAME": "u"})).origin == f"PASSWORD in {config}:2"
    assert find_password(load(None, {"VCB_PASSWORD": "x"}, here)).origin == "VCB_PASSWORD in the environment"
    assert find_password(settings(PASSWORD_FILE=file), None, {}).origin == f"PASSWORD_FILE {file}"
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_password(settings(), None, environ).origin == "systemd credential vcb-password"
    assert find_password(settings(), lambda: "typed", {}).origin == "prompt"
    keyring_holds({("vcb:vc", "u"): "from-keyring"})
    assert find_password(settings(), None, {}).origin == "keyring entry vcb:vc"
    fetched = with_password(settings(PASSWORD_FILE=file))
    assert fetched.PASSWORD
    assert fetched.PASSWORD.reveal() == "from-file"
    assert find_password(fetched).origin == f"PASSWORD_FILE {file}"


def test_integrated_logon_asks_no_source(tmp_path: Path) -> None:
    integrated = Settings.of(HOST="vc", USERNAME="__SSPI__", PASSWORD="ignored", PASSWORD_FILE=tmp_path / "absent")
    assert not find_password(integrated, lambda: pytest.fail("asked")).secret


def test_processes_that_we_start_do_not_inherit_the_password() -> None:
    assert child_environment({"VCB_PASSWORD": "x", "PATH": "/bin"}) == {"PATH": "/bin"}
