"""Which value counts, where it came from, and how what is wrong is told."""

from pathlib import Path

import pytest

from engine.config.effective import default_file, load
from engine.errors import ConfigError

SAMPLES = Path(__file__).parents[2] / "sample_configs"


def test_the_last_of_default_file_environment_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "config.js"
    file.write_text('HOST="from-file";\nPORT="1";\nLOGLEVEL="1";\nMAX_RETRIES="1";\n')
    settings = load(file, {"VCB_LOGLEVEL": "2", "VCB_MAX_RETRIES": "2"}, {"MAX_RETRIES": "3"})
    assert (settings.HOST, settings.PORT, settings.LOGLEVEL, settings.MAX_RETRIES) == ("from-file", 1, 2, 3)
    origins = [str(settings.origin(name)) for name in ("BACKUPROOT", "PORT", "LOGLEVEL", "MAX_RETRIES")]
    assert origins == ["default", f"{file}:2", "environment", "command line"]


def test_toml_has_the_same_names_and_its_own_types(tmp_path: Path) -> None:
    file = tmp_path / "vcb.toml"
    file.write_text('# first\nHOST = "vc"\nPORT = 8443\nTRANSPORT_FALLBACK = ["nbdssl", "https"]\nCA_FILE = "ca.pem"\n')
    settings = load(file, {}, {})
    assert (settings.HOST, settings.PORT, settings.TRANSPORT_FALLBACK) == ("vc", 8443, ("nbdssl", "https"))
    assert tmp_path / "ca.pem" == settings.CA_FILE
    assert str(settings.origin("TRANSPORT_FALLBACK")) == f"{file}:4"


def test_a_copy_from_a_blog_is_read_with_warnings() -> None:
    settings = load(SAMPLES / "from-a-blog.js", {}, {})
    assert (settings.HOST, settings.USERNAME, settings.LOGLEVEL) == ("vcenter.example.com", "vcb@vsphere.local", 4)
    assert {finding.rule_id for finding in settings.findings} == {"comment", "typographic-quote"}
    assert {finding.severity for finding in settings.findings} == {"warning"}


def test_all_errors_of_a_config_js_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load(SAMPLES / "broken.js", {}, {})
    error = caught.value
    assert (error.file, error.line, error.column) == (str(SAMPLES / "broken.js"), 2, 12)
    lines = error.sentence.splitlines()
    assert lines[0] == "7 errors in the configuration:"
    places = [line.removeprefix(f"  {SAMPLES / 'broken.js'}:").split(": ")[0] for line in lines[1:]]
    assert places == ["2:12", "3:6", "4:6", "5:10", "6:1", "7:10", "8:29"]


def test_all_errors_of_a_toml_file_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load(SAMPLES / "broken.toml", {}, {})
    text = caught.value.sentence
    assert text.count(f"{SAMPLES / 'broken.toml'}:") == 5
    for said in (':3:8: PORT must be a whole number from 1 to 65535; "https" is not', "did you mean EXPORT_FORMAT?"):
        assert said in text


def test_a_single_error_is_one_sentence_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "config.js"
    file.write_text('HOST="vc";\n  TRANSPORT_MODE="lan";\n')
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    assert str(caught.value).startswith(f"{file}:2:18: TRANSPORT_MODE must be one of san, nbd, nbdssl, hotadd, https")


@pytest.mark.parametrize(("text", "line"), [('HOST = "a\n', 1), ('HOST = "a"\nPORT = \n', 2), ("A = 1\nA = 2\n", 2)])
def test_toml_syntax_errors_have_a_line(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "vcb.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    assert caught.value.line == line


def test_bad_values_outside_files_name_their_place() -> None:
    with pytest.raises(ConfigError, match="environment VCB_PORT: PORT must be"):
        load(None, {"VCB_PORT": "x"}, {})
    with pytest.raises(ConfigError, match="command line LOGLEVEL: LOGLEVEL must be"):
        load(None, {}, {"LOGLEVEL": "9"})
    with pytest.raises(ConfigError, match="NOPE is not an option"):
        load(None, {}, {"NOPE": "9"})


def test_a_password_is_refused_on_the_command_line_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="every user of this machine") as caught:
        load(None, {}, {"PASSWORD": "hunter22"})
    assert "hunter22" not in str(caught.value)


def test_misspelt_environment_is_a_warning_and_foreign_names_are_not() -> None:
    settings = load(None, {"VCB_TRANSPORTMODE": "nbd", "VCB_REQUIRE_TOOLS": "1", "VCB_CONFIG": "x", "PATH": ""}, {})
    assert [finding.rule_id for finding in settings.findings] == ["environment"]
    assert "did you mean VCB_TRANSPORT_MODE?" in settings.findings[0].text


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "absent.toml", {}, {})
    with pytest.raises(ConfigError, match="must end with"):
        load(tmp_path / "vcb.ini", {}, {})


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "machine"))
    assert default_file({"VCB_CONFIG": "/some/where.js"}) == Path("/some/where.js")
    (tmp_path / "vcb").mkdir()
    (tmp_path / "vcb/config.js").touch()
    assert default_file({}) == tmp_path / "vcb/config.js"
    (tmp_path / "vcb/vcb.toml").touch()
    assert default_file({}) == tmp_path / "vcb/vcb.toml"
