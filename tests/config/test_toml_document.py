"""TOML is kept byte for byte, edits touch what they name, and mistakes are told where they are."""

import tomllib
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given, settings, strategies as st

from engine.config.document import document_of
from engine.config.options import OPTIONS
from engine.config.toml_document import TomlDocument
from engine.config.toml_reading import SECTIONS
from engine.config.toml_values import native
from engine.errors import ConfigError
from tests.config.toml_texts import Text, configurations, edits

BOM = b"\xef\xbb\xbf"
MANY = settings(max_examples=100, deadline=None)


def flat(data: bytes) -> dict[str, object]:
    """What another reader of TOML sees: options by name, sections resolved."""
    found: dict[str, object] = {}
    for name, value in tomlkit.parse(data.removeprefix(b"\xef\xbb\xbf").decode()).unwrap().items():
        found |= value if name in SECTIONS else {name: value}
    return found


@MANY
@given(configurations())
def test_nothing_edited_is_nothing_changed(text: Text) -> None:
    document = TomlDocument.parse(text.data)
    assert document.to_bytes() == text.data
    assert {name: setting.value for name, setting in document.settings().items()} == text.values == flat(text.data)
    for name, entry in document.values().items():
        written = text.data[slice(*entry.span)].decode()
        assert tomllib.loads(f"v = {written}")["v"] == text.values[name]
        assert text.data[slice(*entry.name_span)].decode().strip("\"'") == name
        assert document.line(entry.line)[entry.column - 1 :].startswith(written.split(text.newline)[0])


@MANY
@given(configurations(), st.lists(edits(), max_size=5))
def test_edits_change_what_they_name_alone(text: Text, changes: list[tuple[str, str | None]]) -> None:
    document, expected = TomlDocument.parse(text.data), dict(text.values)
    for name, value in changes:
        before = document
        document = before.remove(name) if value is None else before.set(name, value)
        old, new = before.to_bytes(), document.to_bytes()
        if value is None:
            expected.pop(name, None)
            assert is_cut_from(new, old)
        else:
            expected[name] = native(OPTIONS[name], value)
            entry = document.values()[name]
            written = new[slice(*entry.span)]
            if held := before.values().get(name):
                assert new == old[: held.span[0]] + written + old[held.span[1] :]
            elif name not in before.commented():
                assert is_cut_from(old, new)
        assert {one: setting.value for one, setting in document.settings().items()} == expected == flat(new)
        assert not [finding for finding in document.findings() if finding.severity == "error"]


def is_cut_from(short: bytes, long: bytes) -> bool:
    """Whether `short` is `long` without some pieces; as they are whole lines, lines will do."""
    rest = iter([line.rstrip(b"\r\n") for line in long.removeprefix(BOM).splitlines()])
    return all(line.rstrip(b"\r\n") in rest for line in short.removeprefix(BOM).splitlines())


@MANY
@given(st.one_of(st.binary(max_size=200), st.text("ABHOST_PR=\"'[]{}#,.;\\\n\r\t 01“”", max_size=120).map(str.encode)))
def test_no_content_is_too_odd_to_read(data: bytes) -> None:
    document = TomlDocument.parse(data)
    assert document.to_bytes() == data
    for finding in document.findings():
        assert finding.line >= 1
        if finding.repair:
            assert document.repair(finding).to_bytes() != data


@MANY
@given(configurations(), st.sampled_from(["oops", 'HOST = "', "HOST = [1, 2", "[oops", "x = {"]))
def test_a_broken_line_is_told_and_hides_no_other(text: Text, broken: str) -> None:
    end = text.newline.encode()
    for damaged in (broken.encode() + end + text.data.removeprefix(b"\xef\xbb\xbf"), text.data + end + broken.encode()):
        document = TomlDocument.parse(damaged)
        assert [finding.severity for finding in document.findings()] == ["error"]
        assert {name: setting.value for name, setting in document.settings().items()} == text.values


def test_a_default_in_a_comment_is_enabled_where_it_stands() -> None:
    document = TomlDocument.parse(b"# The port.\n# PORT = 443  # as ever\n\nHOST = 'vc'\n")
    assert document.commented()["PORT"].value == "443"
    assert document.set("PORT", "8443").text == "# The port.\nPORT = 8443  # as ever\n\nHOST = 'vc'\n"


def test_an_option_comes_beside_its_neighbours() -> None:
    document = TomlDocument.parse(
        b"# head\nHOST = 'vc'\nUSERNAME = 'u'\n\n# the network\n[transport]\nNFC_REQUESTS = 1\n"
    )
    text = document.set("PORT", "1").set("NFC_BUFFER", "1 MiB").set("QUIESCE", "off").text
    assert text == (
        "# head\nHOST = 'vc'\nPORT = 1\nUSERNAME = 'u'\nQUIESCE = \"off\"\n\n"
        '# the network\n[transport]\nNFC_REQUESTS = 1\nNFC_BUFFER = "1 MiB"\n'
    )


def test_the_first_option_at_the_top_comes_before_the_sections() -> None:
    document = TomlDocument.parse(b"# ours\n[transport]\n")
    assert document.set("HOST", "vc").text == 'HOST = "vc"\n\n# ours\n[transport]\n'
    assert TomlDocument.parse(b"# nothing").set("HOST", "vc").text == '# nothing\nHOST = "vc"\n'


def test_single_quotes_stay_single_quotes() -> None:
    document = TomlDocument.parse(b"USERNAME = 'DOM\\vcb'\n")
    assert document.set("USERNAME", "DOM\\backup").text == "USERNAME = 'DOM\\backup'\n"
    assert document.set("USERNAME", "o'neill").text == 'USERNAME = "o\'neill"\n'


def test_setting_what_is_set_is_the_same_document() -> None:
    document = TomlDocument.parse(b'PORT = 443\nTRANSPORT_FALLBACK = [ "nbd","https", ]\n')
    assert document.set("PORT", "443") is document
    assert document.set("TRANSPORT_FALLBACK", "nbd, https") is document
    assert document.remove("HOST") is document


@pytest.mark.parametrize(
    ("text", "rule", "place", "mended"),
    [
        ("HOST = “vc”", "typographic-quote", (1, 8), 'HOST = "vc"'),
        ("HOST = ”vc″;", "typographic-quote", (1, 8), 'HOST = "vc"'),
        ('HOST = "vc";', "semicolon", (1, 12), 'HOST = "vc"'),
        ('HOST = "vc', "quote", (1, 8), 'HOST = "vc"'),
        ('HOST = "vc # quoted "twice" or so', "text-after-value", (1, 22), None),
        ("HOST = 'vc # or so", "quote", (1, 8), None),
        ("TRANSPORT_MODE = nbdssl # why", "no-quotes", (1, 18), 'TRANSPORT_MODE = "nbdssl" # why'),
        ("USERNAME = DOM\\vcb", "no-quotes", (1, 12), "USERNAME = 'DOM\\vcb'"),
        ('USERNAME = "DOM\\vcb"', "backslash", (1, 12), "USERNAME = 'DOM\\vcb'"),
        ('USERNAME = "DOM\\backup"', "backslash", (1, 12), "USERNAME = 'DOM\\backup'"),
        ("PORT = 0443", "no-quotes", (1, 8), "PORT = 443"),
        ("PORT =", "no-value", (1, 7), None),
        ("PORT = ;", "no-value", (1, 8), None),
        ("EXCLUDE_DISKS = [1]", "value", (1, 17), None),
        ("HOST = 2026-01-01", "value", (1, 8), None),
        ("// HOST = 'vc'", "comment", (1, 1), "# HOST = 'vc'"),
        ("what is this", "unreadable", (1, 1), None),
        ("[transprt]", "section", (1, 2), None),
        ("[[transport]]", "section", (1, 3), None),
        ("[log]\nNFC_BUFFER = 1", "section", (2, 1), None),
        ("other.NFC_BUFFER = 1", "section", (1, 7), None),
        ("PORT = 1\nPORT = 2", "assigned-twice", (2, 1), None),
        ("PORT = 1\n[connection]\nPORT = 2", "assigned-twice", (3, 1), None),
        ("[log]\n[log]", "toml-syntax", (2, 5), None),
    ],
)
def test_a_mistake_is_told_where_it_is(text: str, rule: str, place: tuple[int, int], mended: str | None) -> None:
    document = TomlDocument.parse(f"{text}\n".encode(), "vcb.toml")
    (finding,) = document.findings()
    assert (finding.rule_id, finding.severity, finding.line, finding.column) == (rule, "error", *place)
    if mended is None:
        assert finding.repair is None
        with pytest.raises(ConfigError, match="no safe repair"):
            document.repair(finding)
    else:
        assert document.repair(finding).text == f"{mended}\n"


def test_one_mistake_hides_no_other() -> None:
    document = TomlDocument.parse(
        b'HOST = "vc\nPORT = 1\nEXCLUDE_DISKS = [ "a",\nLOGLEVEL = 4\n[transport\nNFC_REQUESTS = 2\n'
    )
    assert [(finding.line, finding.rule_id) for finding in document.findings()] == [
        (1, "quote"),
        (3, "toml-syntax"),
        (5, "unreadable"),
    ]
    assert {name: entry.value for name, entry in document.values().items()} == {
        "PORT": "1",
        "LOGLEVEL": "4",
        "NFC_REQUESTS": "2",
    }


def test_a_mistake_in_a_password_does_not_show_it() -> None:
    for text in ("PASSWORD = hunter22", 'PASSWORD = "hunter22', "PASSWORD = “hunter22”;", "PASSWORD = [1, hunter22]"):
        (finding,) = TomlDocument.parse(text.encode()).findings()
        assert "hunter22" not in f"{finding} {finding.fix} {finding.to_json()}"


def test_an_old_encoding_is_read_and_told() -> None:
    data = "# ホスト\nHOST = 'vc'\n".encode("cp932")
    document = TomlDocument.parse(data)
    assert [(finding.rule_id, finding.severity) for finding in document.findings()] == [("encoding", "warning")]
    assert document.set("HOST", "esx").to_bytes() == data.replace(b"vc", b"esx")
    with pytest.raises(ConfigError, match="the encoding of this file, cp932, has no 'é'"):
        document.set("HOST", "é")


def test_what_cannot_be_edited_alone_is_refused() -> None:
    document = TomlDocument.parse(b"transport = { NFC_REQUESTS = 2 }\n")
    assert document.values()["NFC_REQUESTS"].value == "2"
    with pytest.raises(ConfigError, match="without changing something else") as caught:
        document.set("NFC_REQUESTS", "3")
    assert "[transport]" in caught.value.hint
    with pytest.raises(ConfigError, match="without changing something else"):
        document.remove("NFC_REQUESTS")
    with pytest.raises(ConfigError, match="not an option; did you mean PORT"):
        document.set("PORTS", "1")


def test_the_name_of_a_file_says_what_it_is() -> None:
    assert document_of(b"", Path("a/vcb.TOML")).kind == "toml"
    assert document_of(b"", "config.js").kind == "config.js"
