"""Files as they come from twenty years of editors, web pages and hands: what each is read as, and its repairs."""

import os
import tomllib
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from engine.config.check import check
from engine.config.configjs_document import ConfigJsDocument
from engine.config.document import open_document
from engine.config.effective import settings_of
from engine.config.finding import Finding
from engine.errors import ConfigError

CORPUS = Path(__file__).parent / "corpus"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((CORPUS / "expected.toml").read_text("utf-8"))
NAMES = sorted(EXPECTED)


def opened(name: str) -> ConfigJsDocument:
    return ConfigJsDocument.parse((CORPUS / f"{name}.js").read_bytes(), CORPUS / f"{name}.js")


def findings_of(document: ConfigJsDocument) -> list[Finding]:
    """Of the file itself; the machine and the rules across options have their own tests."""
    return list(settings_of(document, {}).findings)


def short(finding: Finding) -> str:
    return f"{finding.line}:{finding.column} {finding.severity} {finding.rule_id}{' +' if finding.repair else ''}"


def values_of(document: ConfigJsDocument) -> dict[str, str]:
    return {name: entry.value for name, entry in document.values().items()}


def test_every_file_is_expected_and_there_are_many() -> None:
    assert sorted(file.stem for file in CORPUS.glob("*.js")) == NAMES
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_is_read_as_expected(name: str) -> None:
    document, expected = opened(name), EXPECTED[name]
    assert document.encoding == expected["encoding"]
    assert document.newline == expected["newline"]
    assert [short(finding) for finding in findings_of(document)] == expected["findings"]
    assert values_of(document) == expected["values"]
    assert {name: entry.value for name, entry in document.commented().items()} == expected.get("commented", {})


@pytest.mark.parametrize("name", NAMES)
def test_is_kept_byte_for_byte_and_every_place_is_true(name: str) -> None:
    document, data = opened(name), (CORPUS / f"{name}.js").read_bytes()
    assert document.to_bytes() == data
    for option, entry in document.values().items():
        assert data[slice(*entry.name_span)].decode(document.encoding) == option
        assert document.line(entry.line)[entry.name_column - 1 :].startswith(option)
        literal = data[slice(*entry.span)].decode(document.encoding)
        assert document.line(entry.line)[entry.column - 1 :].startswith(literal)
    for finding in findings_of(document):
        assert 1 <= finding.column <= len(document.line(finding.line)) + 1
        assert finding.text
        assert finding.fix or finding.rule_id == "value"


@pytest.mark.parametrize("name", NAMES)
def test_each_repair_changes_its_bytes_alone_and_the_finding_is_gone(name: str) -> None:
    document = opened(name)
    before = document.to_bytes()
    findings = findings_of(document)
    for finding in findings:
        if finding.repair is None:
            with pytest.raises(ConfigError, match="no safe repair"):
                document.repair(finding)
            continue
        repaired = document.repair(finding)
        kept, at = repaired.to_bytes(), 0
        for edit in sorted(finding.repair.edits):
            assert kept.startswith(before[at : edit.start] + edit.new)
            kept, at = kept[edit.start - at + len(edit.new) :], edit.end
        assert kept == before[at:]
        left = findings_of(repaired)
        assert [other.rule_id for other in left].count(finding.rule_id) < [o.rule_id for o in findings].count(
            finding.rule_id
        )
        assert len([other for other in left if other.severity == "error"]) <= len(
            [other for other in findings if other.severity == "error"]
        )
        with pytest.raises(ConfigError, match="another version"):
            repaired.repair(finding)


@pytest.mark.parametrize("name", NAMES)
def test_all_repairs_one_after_the_other_leave_none(name: str) -> None:
    document = opened(name)
    for _ in range(100):
        offered = next((finding for finding in findings_of(document) if finding.repair), None)
        if offered is None:
            break
        document = document.repair(offered)
    assert not [finding for finding in findings_of(document) if finding.repair]
    assert opened(name).encoding == document.encoding


@pytest.mark.parametrize("name", NAMES)
def test_setting_an_option_touches_one_place_even_here(name: str) -> None:
    document = opened(name)
    changed = document.set("LOGLEVEL", "5")
    assert values_of(changed) == values_of(document) | {"LOGLEVEL": "5"}
    blocks = SequenceMatcher(None, document.to_bytes(), changed.to_bytes(), autojunk=False).get_opcodes()
    touched = [block for block in blocks if block[0] != "equal"]
    lines = {document.to_bytes()[: block[1]].count(b"\n") for block in touched}
    assert len(lines) <= 1
    assert opened(name).encoding in (changed.encoding, "cp1252")
    again = ConfigJsDocument.parse(changed.to_bytes(), changed.file)
    assert values_of(again) == values_of(changed)


def test_the_web_page_copy_is_clean_after_its_repairs_but_for_the_lost_comment_signs() -> None:
    document = opened("web-page-copy")
    while offered := next((finding for finding in findings_of(document) if finding.repair), None):
        document = document.repair(offered)
    assert {finding.rule_id for finding in findings_of(document)} == {"comment"}
    assert 'HOST="vcenter.example.com";' in document.text
    assert "LOGLEVEL=4;" in document.text
    assert "“with the role”" in document.text


def test_check_joins_the_text_the_values_the_rules_and_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "config.js"
    file.write_text(f'HOST=“vc”;\nPORT=902;\nBACKUPROOT="{tmp_path}/none";\nLOGLEVEL=9;\nTRANSPORT_MODE="nbd";\n')
    found = [(finding.line, finding.rule_id) for finding in check(open_document(file), {"VCB_LOGLEVL": "3"})]
    assert found == [
        (1, "typographic-quote"),
        (2, "port-902"),
        (3, "backuproot-missing"),
        (4, "value"),
        (5, "nbd-clear"),
        (0, "environment"),
        (0, "mandatory"),
    ]


def test_rules_do_not_judge_what_could_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "config.js"
    file.write_text(f'HOST="vc;\nUSERNAME="u";\nBACKUPROOT="{tmp_path}";\n')
    assert [finding.rule_id for finding in check(open_document(file), {})] == ["quote"]


@pytest.mark.parametrize("kind", ["missing", "file", "read-only", "full", "ok"])
def test_backuproot_on_this_machine(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.touch()
    elif kind != "missing":
        root.mkdir(mode=0o555 if kind == "read-only" else 0o755)
    if kind == "read-only" and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    floor = "1000000 TiB" if kind == "full" else "1"
    text = f'HOST="vc";\nUSERNAME="u";\nKEEP_FREE="{floor}";\nBACKUPROOT="{root}";\n'
    document = ConfigJsDocument.parse(text.encode(), tmp_path / "config.js")
    rules = {"missing": "missing", "file": "not-directory", "read-only": "not-writable", "full": "full"}
    expected = [f"backuproot-{rules[kind]}"] if kind in rules else []
    found = check(document, {})
    assert [finding.rule_id for finding in found] == expected
    assert [finding.line for finding in found] == [4] * len(expected)


def test_files_that_options_name(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x\n")
    secret.chmod(0o644)
    text = f'HOST="vc";\nUSERNAME="u";\nBACKUPROOT="{tmp_path}";\nPASSWORD_FILE="password";\nCA_FILE="absent.pem";\n'
    found = check(ConfigJsDocument.parse(text.encode(), tmp_path / "config.js"), {})
    assert [(finding.line, finding.rule_id) for finding in found] == [(4, "password-file-mode"), (5, "file-missing")]
