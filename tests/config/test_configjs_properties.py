"""config.js in any encoding: kept byte for byte, edited nowhere but where it was meant, never a crash.

`VCB_FUZZ_INPUTS=200000 pytest tests/config/test_configjs_properties.py -n 0` fuzzes with that many damaged files.
"""

import codecs
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from engine.config.configjs import parse
from engine.config.configjs_document import ConfigJsDocument
from engine.config.encoding import decode
from engine.config.options import OPTIONS
from engine.config.spelling import spelling
from engine.errors import ConfigError

CORPUS = Path(__file__).parent / "corpus"
FUZZ_INPUTS = int(os.environ.get("VCB_FUZZ_INPUTS", "2000"))
LETTERS = {
    "utf-8": "éß日本ー—“”″\U0001f600",
    "utf-16-le": "éß日本ー—“”″\U0001f600",
    "utf-16-be": "éß日本ー—“”″\U0001f600",
    "cp932": "表ソ能予十申日本ー髙ｱＡ",
    "cp1252": "éßüñ€“”–",
}
"""Beyond ASCII, what values and comments of each encoding draw from; cp932's are those with 0x5C as second byte."""
ANCHORS = {"cp932": "// バックアップ", "cp1252": "// à la carte"}
"""What makes each of the encodings without a mark recognisable."""
BOMS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
NAMES = list(OPTIONS)


@st.composite
def texts(draw: st.DrawFn, encoding: str) -> str:
    alphabet = st.sampled_from("aZ09 .,;:/\\'\"=*+-_%$(){}[]#\t" + LETTERS[encoding])
    return draw(st.text(alphabet, max_size=12))


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, str, dict[str, str]]:
    """A file, its encoding, and what it sets."""
    encoding = draw(st.sampled_from(sorted(LETTERS)))
    lines = [ANCHORS[encoding]] if encoding in ANCHORS else []
    values: dict[str, str] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=8)):
        kind = draw(st.sampled_from(["set", "set", "number", "commented", "comment", "block", "blank"]))
        value, end = draw(texts(encoding)), draw(st.sampled_from([";", ";", "", " ; // " + draw(texts(encoding))]))
        indent = draw(st.sampled_from(["", "  ", "\t"]))
        if kind == "number":
            values[name] = str(draw(st.integers(0, 10**6)))
            lines.append(f"{indent}{name} = {values[name]}{end}")
        elif kind == "set":
            values[name] = value.replace("“", "").replace("”", "").replace("″", "")
            quote = draw(st.sampled_from("'\""))
            body = values[name].replace("\\", "\\\\").replace(quote, "\\" + quote)
            lines.append(f"{indent}{name}={quote}{body}{quote}{end}")
        elif kind == "commented":
            lines.append(f'{indent}// {name}="1";')
        elif kind == "comment":
            lines.append(f"{indent}// {value}")
        else:
            lines.append("" if kind == "blank" else f"/* {value.replace('*', '')}\n * {name} */")
    breaks = [draw(st.sampled_from(["\n", "\r\n", "\n"])) for _ in lines]
    text = "".join(line + end for line, end in zip(lines, breaks, strict=True))
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    bom = BOMS.get(encoding) or (b"\xef\xbb\xbf" if encoding == "utf-8" and draw(st.booleans()) else b"")
    return bom + text.encode(encoding), encoding, values


def values_of(document: ConfigJsDocument) -> dict[str, str]:
    return {name: entry.value for name, entry in document.values().items()}


def changed_region(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """What is left of both when the common beginning and end are taken away."""
    start = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return before[start : len(before) - end], after[start : len(after) - end]


@settings(max_examples=150, deadline=None)
@given(files())
def test_parse_and_serialise_is_byte_identical_and_reads_what_is_meant(made: tuple[bytes, str, dict[str, str]]) -> None:
    data, encoding, values = made
    document = ConfigJsDocument.parse(data)
    assert document.to_bytes() == data
    assert values_of(document) == values
    assert not [finding for finding in document.findings() if finding.severity == "error"]
    if not data.isascii():
        assert document.encoding == encoding


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files(), st.data())
def test_edits_change_only_their_own_bytes(made: tuple[bytes, str, dict[str, str]], data: st.DataObject) -> None:
    document, expected = ConfigJsDocument.parse(made[0]), dict(made[2])
    for _ in range(data.draw(st.integers(1, 6))):
        name = data.draw(st.sampled_from(NAMES))
        before = document
        if data.draw(st.booleans()) or name not in expected:
            expected[name] = data.draw(texts(made[1] if not made[0].isascii() else "utf-8"))
            document = document.set(name, expected[name])
            assert document.set(name, expected[name]) is document
        else:
            del expected[name]
            document = document.remove(name)
            assert document.remove(name) is document
        assert values_of(document) == expected
        again = ConfigJsDocument.parse(document.to_bytes())
        assert (values_of(again), again.text) == (expected, document.text)
        assert_local(before, document, name)


def assert_local(before: ConfigJsDocument, after: ConfigJsDocument, name: str) -> None:
    old, new = before.to_bytes(), after.to_bytes()
    if (entry := before.values().get(name)) and (value := after.values().get(name)):
        if before.text.count(name + "=") + before.text.count(name + " =") == 1:
            assert old[: entry.span[0]] == new[: value.span[0]]
        assert old[entry.span[1] :] == new[value.span[1] :]
    elif name not in before.values():
        gone, come = changed_region(old, new)
        if name not in before.commented():
            assert not gone
            assert len(after.text.splitlines()) - len(before.text.splitlines()) == 1
        else:
            assert before.text.count("\n") == after.text.count("\n")
            assert come.count(b"\n") <= 1


@settings(max_examples=100, deadline=None)
@given(files(), st.text(st.characters(codec="utf-8"), max_size=6))
def test_a_value_is_written_or_refused_with_a_reason(made: tuple[bytes, str, dict[str, str]], value: str) -> None:
    document = ConfigJsDocument.parse(made[0])
    refusal = ""
    changed = document
    try:
        changed = document.set("USERNAME", value)
    except ConfigError as error:
        refusal = str(error)
    if refusal:
        assert any(said in refusal for said in ("does not exist in", "cannot hold", "changing something else"))
        return
    assert changed.values()["USERNAME"].value == value
    assert decode(changed.to_bytes()).text == changed.text


@pytest.mark.parametrize(
    ("encoding", "anchor", "value", "said"),
    [
        ("cp932", "// バックアップ", "\U0001f600", "does not exist in cp932"),
        ("cp1252", "// à la carte", "日本", "does not exist in cp1252"),
        ("utf-8", "// plain", "two\nlines", "cannot hold the character U+000A"),
        ("utf-8", "// plain", "\ud800", "cannot hold the character U+D800"),
        ("utf-8", "// plain", "x" * 5000, "at most"),
    ],
)
def test_what_the_file_cannot_hold_is_told(encoding: str, anchor: str, value: str, said: str) -> None:
    document = ConfigJsDocument.parse(f'{anchor}\nHOST="a";\n'.encode(encoding), "config.js")
    with pytest.raises(ConfigError, match=said.replace("+", r"\+")):
        document.set("HOST", value)
    with pytest.raises(ConfigError, match="did you mean HOST"):
        document.set("HOSTS", "x")


def test_fuzzing_damaged_files_never_breaks_the_reader_nor_runs_anything() -> None:
    seeds = [file.read_bytes() for file in sorted(CORPUS.glob("*.js"))]
    pieces = [
        b'"',
        b"'",
        b"\\",
        b"/*",
        b"*/",
        b"//",
        b";",
        b"=",
        b"\r",
        b"\n",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x81",
    ]
    chance, happened, armed = random.Random(7), list[str](), [False]

    def hear(event: str, arguments: object) -> None:
        if armed[0] and event.split(".", maxsplit=1)[0] in (
            "exec",
            "compile",
            "import",
            "open",
            "os",
            "subprocess",
            "socket",
        ):
            happened.append(f"{event} {arguments}")

    inputs = [damaged(chance, seeds, pieces) for _ in range(min(FUZZ_INPUTS, 1000))]
    for encoding in (*LETTERS, "latin-1"):
        codecs.lookup(encoding)  # Python loads a codec when it is first used
    ConfigJsDocument.parse(seeds[0]).set("PORT", "1")
    sys.addaudithook(hear)
    for number in range(FUZZ_INPUTS):
        data = inputs[number] if number < len(inputs) else damaged(chance, seeds, pieces)
        armed[0] = True
        document = ConfigJsDocument.parse(data)
        document.commented()
        spelling(document)
        armed[0] = False
        assert document.to_bytes() == data
        spans = [(token.byte_start, token.byte_end) for token in parse(data).tokens]
        assert [end for _, end in spans][:-1] == [start for start, _ in spans][1:]
        try_edits(document, chance)
    assert happened == []


def damaged(chance: random.Random, seeds: list[bytes], pieces: list[bytes]) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.choice((0, 0, 1, 8))] = chance.choice([*pieces, chance.randbytes(2)])
    return bytes(data)


def try_edits(document: ConfigJsDocument, chance: random.Random) -> None:
    """Each edit either says what was meant and nothing else, or is refused."""
    name = chance.choice(NAMES)
    try:
        changed = document.set(name, "7")
    except ConfigError:
        return
    assert values_of(changed) == values_of(document) | {name: "7"}
    try:
        removed = changed.remove(name)
    except ConfigError:
        return
    assert name not in removed.values()
