"""The sources of the password, in their order."""

from collections.abc import Callable
from pathlib import Path

import keyring
import pytest
from keyring.errors import NoKeyringError

from engine.config.options import Settings
from engine.config.secrets import password_for
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
