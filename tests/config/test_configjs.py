"""The dialect of config.js: what is read, what is refused where, and that the tokens tile the file."""

import random

import pytest

from engine.config.configjs import parse

DIALECT = (
    '/*\n * Generic help, 100 % "quoted" // not a comment inside\n */\n'
    '// PORT="902";\n'
    'HOST="vc.example.com";   // kept\r\n'
    "USERNAME = 'dom\\\\svc' ;\n"
    "var LOGLEVEL=3;let MAX_RETRIES = 0x0a;\n"
    'BACKUPROOT="/srv/caf\u00e9 // no comment";\r'
    'EXCLUDE_DISKS="a\\"b\\u0041\\x42\\/"\n;\n'
    "BACKOFF_TIME=-5;"
)


def values(text: str | bytes) -> dict[str, str]:
    document = parse(text if isinstance(text, bytes) else text.encode())
    return {name: assignment.value for name, assignment in document.effective().items()}


def findings(text: str) -> list[tuple[int, int, str, str]]:
    return [(f.line, f.column, f.severity, f.rule_id) for f in parse(text.encode()).findings]


def test_the_dialect() -> None:
    assert values(DIALECT) == {
        "HOST": "vc.example.com",
        "USERNAME": "dom\\svc",
        "LOGLEVEL": "3",
        "MAX_RETRIES": "10",
        "BACKUPROOT": "/srv/caf\u00e9 // no comment",
        "EXCLUDE_DISKS": 'a"bAB/',
        "BACKOFF_TIME": "-5",
    }
    assert findings(DIALECT) == []


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ('HOST="vc;\n', (1, 6), "quote"),
        ("HOST=vc;\n", (1, 6), "no-quotes"),
        ("HOST=;\n", (1, 6), "no-value"),
        ("HOST=\n", (1, 5), "no-value"),
        ('HOST="a" "b";\n', (1, 10), "text-after-value"),
        ('HOST="a" + "b";\n', (1, 10), "computed"),
        ('HOST=["a", "b"];\n', (1, 6), "computed"),
        ('BACKUPROOT="c:\\mnt";\n', (1, 12), "backslash"),
        ('BACKUPROOT="c:\\temp";\n', (1, 12), "backslash"),
        ("BACKUPROOT=\u201cc:\\\u201d;\n", (1, 12), "backslash"),
        ('config = { HOST: "a" };\n', (1, 10), "computed"),
        ('eval("x");\n', (1, 1), "unreadable"),
        ("\n\n/* never closed\n", (3, 1), "comment"),
        ('HOST="vc\u201d; // "\n', (1, 6), "typographic-quote"),
    ],
)
def test_refused_with_its_place_and_the_next_line_still_read(text: str, place: tuple[int, int], rule: str) -> None:
    document = parse((text + 'PORT="1";\n').encode())
    errors = [finding for finding in document.findings if finding.severity == "error"]
    assert [(finding.line, finding.column, finding.rule_id) for finding in errors] == [(*place, rule)]
    assert all(finding.fix for finding in errors)
    names = [assignment.name for assignment in document.assignments]
    assert names == ([] if "/*" in text else ["PORT"])


@pytest.mark.parametrize(
    ("text", "place", "rule", "value"),
    [
        ("HOST=\u201cvc\u201d;", (1, 6), "typographic-quote", "vc"),
        ("HOST=\u201dvc\u2033;", (1, 6), "typographic-quote", "vc"),
        ("HOST=\u2018vc\u2019;", (1, 6), "typographic-quote", "vc"),
        ('HOST="vc\u201d;', (1, 6), "typographic-quote", "vc"),
        ("HOST=\uff02vc\uff02;", (1, 6), "typographic-quote", "vc"),
        ('HOST\u00a0="vc";', (1, 5), "space", "vc"),
        ('HOST="vc",', (1, 10), "comma", "vc"),
        ('HOST="vc"\u037e', (1, 10), "semicolon", "vc"),
        ('HOST="old";HOST="vc";', (1, 12), "assigned-twice", "vc"),
        ('* help without its sign\n* more\nHOST="vc";', (1, 1), "comment", "vc"),
    ],
)
def test_odd_but_read(text: str, place: tuple[int, int], rule: str, value: str) -> None:
    assert findings(text) == [(*place, "warning", rule)]
    assert values(text) == {"HOST": value}


def test_an_apostrophe_inside_straight_quotes_is_no_quote() -> None:
    assert values('EXCLUDE_DISKS="Peter\u2019s disk";') == {"EXCLUDE_DISKS": "Peter\u2019s disk"}
    assert findings('EXCLUDE_DISKS="Peter\u2019s disk";') == []


@pytest.mark.parametrize(
    ("encoding", "bom"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("cp1252", b""),
    ],
)
def test_encodings_and_byte_spans(encoding: str, bom: bytes) -> None:
    data = bom + DIALECT.encode(encoding)
    document = parse(data)
    assert document.source.encoding == encoding
    assert not document.findings
    assert document.effective()["BACKUPROOT"].value == "/srv/caf\u00e9 // no comment"
    token = document.effective()["BACKUPROOT"].value_token
    assert data[token.byte_start : token.byte_end].decode(encoding) == token.text


def test_shift_jis_comments() -> None:
    data = '// バックアップの設定\nHOST="vc";\n'.encode("cp932")
    assert parse(data).source.encoding == "cp932"
    assert values(data) == {"HOST": "vc"}


PIECES = [
    *('HOST="a";', "PORT=1", "'", '"', "\\", "\u201c", "\u201d", "/*", "*/", "//", "\n", "\r\n", "\r", " ", "\t"),
    *("=", ";", ",", "+", "{", "}", "[", "\u00a0", "\0", "\ufeff", "\u65e5", "\U0001f600", "var", "0x1", "é", "*"),
]


@pytest.mark.parametrize("seed", range(40))
def test_any_text_is_tiled_by_its_tokens_and_never_breaks_the_reader(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choice(PIECES) for _ in range(chance.randrange(200)))
    data = text.encode()
    document = parse(data)
    assert "".join(token.text for token in document.tokens) == document.source.text
    ends = [len(document.source.bom), *(token.byte_end for token in document.tokens)]
    assert [token.byte_start for token in document.tokens] == ends[:-1]
    assert ends[-1] == len(data)
    lines = document.source.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for token in document.tokens:
        assert lines[token.line - 1][token.column - 1 :].startswith(token.text.split("\n")[0].split("\r")[0])
    for finding in document.findings:
        assert 1 <= finding.line <= len(lines)


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_never_break_the_reader(seed: int) -> None:
    data = random.Random(seed).randbytes(300)
    document = parse(data)
    assert document.source.bom + document.source.text.encode(document.source.encoding) == data


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_line_costs_only_itself(seed: int) -> None:
    chance = random.Random(seed)
    lines = [f'NAME{number}="value {number}";' for number in range(20)]
    broken = chance.sample(range(20), 5)
    for number in broken:
        lines[number] = chance.choice(['X="', "X=“a", "X=y;", 'X="a" "b"', "@@@", "X=[1];"])
    expected = {f"NAME{number}": f"value {number}" for number in range(20) if number not in broken}
    assert values("\n".join(lines)) == expected
