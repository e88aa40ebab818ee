"""Generated TOML configurations, written in every way that TOML has, with what they mean."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from engine.config.options import OPTIONS
from engine.config.toml_reading import SECTIONS, section_key

BY_SECTION = {key: [name for name, option in OPTIONS.items() if section_key(option.section) == key] for key in SECTIONS}
_PLAIN = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
_texts = st.text(_PLAIN, max_size=12)
_spaces = st.sampled_from(["", " ", "\t", "  "])


class Text(NamedTuple):
    """A file, and the values it sets by name."""

    data: bytes
    newline: str
    values: dict[str, Any]


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    return f"'{text}'" if "'" not in text else basic(text)


def multiline(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"', '\\"') + '"""'


@st.composite
def _text_value(draw: st.DrawFn) -> tuple[str, Any]:
    text = draw(_texts)
    return draw(st.sampled_from([basic, literal, multiline]))(text), text


@st.composite
def _number_value(draw: st.DrawFn) -> tuple[str, Any]:
    number = draw(st.integers(0, 10**6))
    return draw(st.sampled_from([str, hex, lambda value: f"{value:_}"]))(number), number


@st.composite
def _list_value(draw: st.DrawFn, newline: str) -> tuple[str, Any]:
    items = draw(st.lists(_texts, max_size=3))
    gap = draw(st.sampled_from(["", " ", f"{newline}  ", f" # one ] of them{newline}"]))
    written = [draw(st.sampled_from([basic, literal]))(item) for item in items]
    return f"[{gap}{f',{gap}'.join(written)}{',' if items and gap else ''}{gap}]", items


@st.composite
def _line(draw: st.DrawFn, name: str, newline: str) -> tuple[str, Any]:
    kind = OPTIONS[name].kind
    values = (
        _number_value() if kind == "number" else _list_value(newline) if kind in ("choices", "texts") else _text_value()
    )
    written, value = draw(values)
    key = draw(st.sampled_from([name, f'"{name}"', f"'{name}'"]))
    comment = draw(st.sampled_from(["", " # why", "\t#"]))
    return f"{draw(_spaces)}{key}{draw(_spaces)}={draw(_spaces)}{written}{comment}{newline}", value


@st.composite
def _between(draw: st.DrawFn, newline: str) -> str:
    """Blank lines and comments, some of which look like settings or sections."""
    comment = st.one_of(_texts, st.sampled_from(["PORT = 1", "[image]", 'NFC_BUFFER = "', "--- Transport ---"]))
    lines = st.one_of(_spaces, comment.map(lambda text: f"#{text}"), comment.map(lambda text: f"  # {text}"))
    return "".join(line + newline for line in draw(st.lists(lines, max_size=3)))


@st.composite
def configurations(draw: st.DrawFn) -> Text:
    """Options at the top and in their sections, each at most once."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    values: dict[str, Any] = {}
    parts = [draw(_between(newline))]
    for name in draw(st.lists(st.sampled_from(list(OPTIONS)), unique=True, max_size=6)):
        line, values[name] = draw(_line(name, newline))
        parts += [line, draw(_between(newline))]
    for section in draw(st.lists(st.sampled_from(list(SECTIONS)), unique=True, max_size=3)):
        parts += [f"{draw(_spaces)}[{section}]{newline}", draw(_between(newline))]
        for name in draw(st.lists(st.sampled_from(BY_SECTION[section]), unique=True, max_size=3)):
            if name not in values:
                line, values[name] = draw(_line(name, newline))
                parts += [line, draw(_between(newline))]
    text = "".join(parts)
    if draw(st.booleans()):
        text = text.removesuffix(newline)
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return Text(bom + text.encode(), newline, values)


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str | None]:
    """An option and its new text, None to take it out."""
    name = draw(st.sampled_from(list(OPTIONS)))
    kind = OPTIONS[name].kind
    if kind == "number":
        text = draw(st.integers(0, 10**6).map(str))
    elif kind in ("choices", "texts"):
        text = ", ".join(draw(st.lists(st.text("abc:\"'\\é", min_size=1), max_size=3)))
    else:
        text = draw(_texts)
    return name, draw(st.sampled_from([text, text, text, None]))
