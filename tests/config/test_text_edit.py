"""A document edited as lines: what was not touched keeps its bytes."""

import pytest
from hypothesis import given, strategies as st

from engine.config.document import document_of
from engine.config.text_edit import lines_of_text, with_lines
from engine.errors import ConfigError

MIXED = b'\xef\xbb\xbfHOST="a";\r\nPORT="443";\n// \xc3\xa9\r\nLOGLEVEL="3";'


def test_a_changed_line_leaves_the_others_their_ends_and_the_file_its_mark():
    document = document_of(MIXED, "config.js")
    lines = lines_of_text(document)
    lines[1] = 'PORT="902";'
    assert with_lines(document, lines).to_bytes() == MIXED.replace(b"443", b"902").replace(b'902";\n', b'902";\r\n')


def test_the_same_lines_are_the_same_document():
    document = document_of(MIXED, "config.js")
    assert with_lines(document, lines_of_text(document)) is document


def test_a_character_that_the_encoding_lacks_is_named():
    document = document_of("// gr\xfc\xdfe\nHOST='a';\n".encode("cp1252"), "config.js")
    with pytest.raises(ConfigError, match="U\\+6F22"):
        with_lines(document, ["\u6f22"])


_LINES = st.lists(st.sampled_from(["", "a", "b", 'HOST="a";']), min_size=1, max_size=6)


@given(_LINES, _LINES, st.lists(st.sampled_from(["\n", "\r\n"]), min_size=6, max_size=6))
def test_any_lines_become_any_other(old, new, ends):
    text = "".join(line + end for line, end in zip(old[:-1], ends, strict=False)) + old[-1]
    document = document_of(text.encode(), "config.js")
    assert lines_of_text(with_lines(document, new)) == new
