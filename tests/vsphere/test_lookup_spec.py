"""What the operator may write for a VM."""

import pytest

from engine.errors import SpecError
from engine.vsphere.lookup import Spec, parse_spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("name:web01", Spec("name", "web01")),
        ("NAME: web 01 ", Spec("name", "web 01")),
        ("ipaddr:10.0.0.7", Spec("ipaddr", "10.0.0.7")),
        ("uuid:4210-aa", Spec("uuid", "4210-aa")),
        ("moref:vm-12", Spec("moref", "vm-12")),
        ("web01", Spec("ipaddr", "web01")),
        ("fe80::1", Spec("ipaddr", "fe80::1")),
        ("face::1", Spec("ipaddr", "face::1")),
        ("web-01:test", Spec("ipaddr", "web-01:test")),
        ("name:a:b", Spec("name", "a:b")),
    ],
)
def test_specifications(text: str, spec: Spec) -> None:
    assert parse_spec(text, "ipaddr") == spec


def test_a_bare_word_goes_by_the_configured_method() -> None:
    assert parse_spec("web01", "name") == Spec("name", "web01")


@pytest.mark.parametrize("text", ["", "  ", "name:", "nmae:web01", "any:", "powerstate:on"])
def test_what_names_no_vm(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "name")
    assert caught.value.hint
    assert caught.value.exit_code == 2
