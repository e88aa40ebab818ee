"""The sample files and the README's table, drawn from the option table. A test keeps the files in step.

`python -c "from engine.config.samples import write; write()"` in the source tree writes them again.
"""

import textwrap
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from engine.config.document import document_of
from engine.config.option_types import ChoiceOption, Option
from engine.config.options import OPTIONS
from engine.config.toml_reading import section_key
from engine.config.toml_values import native

_WIDTH = 78
_SET = {"HOST": "vcenter.example.com", "USERNAME": "vcb@vsphere.local", "TRANSPORT_MODE": "nbdssl"}
"""What the samples set; everything else stands there as its commented default."""
_EXAMPLES = {
    "PASSWORD": "",
    "PASSWORD_FILE": "/etc/vcb/password",
    "CA_FILE": "/etc/vcb/vcenter-ca.pem",
    "THUMBPRINT": ":".join(["AB"] * 32),
    "EXCLUDE_DISKS": "scsi0:1",
    "TRANSPORT_FALLBACK": "https",
}
"""What stands in a commented line instead of an empty default."""


_SCENARIOS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "san.toml": (
        "The proxy sees the LUNs of the datastores and reads them directly; what is on other storage goes over TLS.",
        {"TRANSPORT_MODE": "san", "TRANSPORT_FALLBACK": "nbdssl", "MAX_RETRIES": "3", "BACKOFF_TIME": "30"},
    ),
    "hotadd.toml": (
        "The proxy is itself a VM of this vSphere, and gets the disks attached. Both PREEXISTING_ options are equal: "
        "an old snapshot cannot go while its disks are attached.",
        {"TRANSPORT_MODE": "hotadd", "PREEXISTING_MOUNTPOINT": "delete", "PREEXISTING_VCB_SNAPSHOT": "delete"},
    ),
    "nbdssl.toml": (
        "Over the network from the ESXi hosts, encrypted: needs no storage and no VM of its own, only port 902.",
        {"TRANSPORT_MODE": "nbdssl", "NFC_CONNECTIONS": "4", "MAX_RETRIES": "3", "BACKOFF_TIME": "30"},
    ),
    "troubleshooting.toml": (
        "Everything is recorded and nothing is tried twice, so that the first failure is the one in the log. For one "
        "VM and one run.",
        {"TRANSPORT_MODE": "nbdssl", "LOGLEVEL": "6", "MAX_RETRIES": "0"},
    ),
    "third-party.toml": (
        "Another backup software takes the files: its pre script calls vcb mount, its post script vcb unmount. What "
        "a broken run left is removed, and the images are flat, for programs that read raw disks.",
        {
            "TRANSPORT_MODE": "nbdssl",
            "PREEXISTING_MOUNTPOINT": "delete",
            "PREEXISTING_VCB_SNAPSHOT": "delete",
            "VM_LOOKUP_METHOD": "name",
            "EXPORT_FORMAT": "flat",
        },
    ),
}
"""File name -> what it is for, and what it sets beside HOST and USERNAME."""


def files() -> dict[str, str]:
    """Every sample file: name and content."""
    return {
        "config.js": config_js(),
        "vcb.toml": toml(),
        "minimal.toml": "".join(f'{name} = "{value}"\n' for name, value in _SET.items()),
        "minimal.js": "".join(f'{name}="{value}";\n' for name, value in _SET.items()),
        **{name: scenario(*about) for name, about in _SCENARIOS.items()},
    }


def scenario(purpose: str, values: Mapping[str, str]) -> str:
    """A TOML file for one purpose: VCB's options at the top, ours in their sections, the help above each."""
    parts = [_comment_toml(purpose)]
    chosen = [option for option in OPTIONS.values() if option.name in {"HOST": "", "USERNAME": "", **values}]
    section = ""
    for option in sorted(chosen, key=lambda option: option.since != "VCB"):
        home = "" if option.since == "VCB" else section_key(option.section)
        if home != section:
            section = home
            parts.append(f"\n[{home}]\n")
        text = values.get(option.name, _SET.get(option.name, ""))
        parts.append(f"\n{_comment_toml(option.help)}{option.name} = {_toml_value(option, text)}\n")
    return "".join(parts)


def without_secrets(data: bytes, file: Path) -> bytes:
    """A configuration for another server: all of it but the secrets, which a copy would spread."""
    document = document_of(data, file)
    for name, option in OPTIONS.items():
        if option.secret:
            document = document.remove(name)
    return document.to_bytes()


def write(directory: Path | None = None) -> None:
    """Writes the sample files, by default into the source tree's sample_configs/."""
    target = directory or Path(__file__).parents[2] / "sample_configs"
    for name, content in files().items():
        (target / name).write_text(content, encoding="utf-8")


def config_js() -> str:
    """All options in VCB's own form."""
    parts = [
        _comment_js("Configuration of vcb-console, in the form of VCB's config.js.\n\n"
                    'A setting is NAME="value"; and a line after // is a comment: take the // away to set it. '
                    "A backslash is written twice. What is commented shows the default, or an example.")
    ]  # fmt: skip
    for option in OPTIONS.values():
        parts.append(_comment_js(_about(option)))
        value = _SET.get(option.name, _commented(option)).replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'{"" if option.name in _SET else "// "}{option.name}="{value}";\n')
    return "\n".join(parts)


def toml() -> str:
    """All options in TOML: VCB's at the top, ours in their sections."""
    parts = [
        _comment_toml("Configuration of vcb-console.\n\n"
                      "A line after # is a comment: take the # away to set the option. What is commented shows the "
                      "default, or an example. VCB's options stand at the top, the others in sections.")
    ]  # fmt: skip
    ordered = sorted(OPTIONS.values(), key=lambda option: option.since != "VCB")
    for (vcb, section), options in groupby(ordered, key=lambda option: (option.since == "VCB", option.section)):
        parts.append(f"\n# --- {section} ---\n" if vcb else f"\n[{section_key(section)}]\n")
        for option in options:
            prefix = "" if option.name in _SET else "# "
            value = _toml_value(option, _SET.get(option.name, _commented(option)))
            parts.append(f"\n{_comment_toml(_about(option))}{prefix}{option.name} = {value}\n")
    return "".join(parts)


def markdown() -> str:
    """The README's table of options."""
    rows = ["| Option | Values | Default | Meaning |", "|---|---|---|---|"]
    for option in OPTIONS.values():
        values = "a text, never shown" if option.secret else option.allowed
        default = f"`{option.text(option.default)}`" if option.text(option.default) else "none"
        ours = "" if option.since == "VCB" else " *"
        meaning = f"{option.help} Costs: {option.cost}" if option.cost else option.help
        rows.append(f"| `{option.name}`{ours} | {values} | {default} | {meaning} |")
    return "\n".join([*rows, "", "\\* not in VCB's config.js."]) + "\n"


def _about(option: Option[Any]) -> str:
    lines = [option.help]
    if isinstance(option, ChoiceOption):
        lines += [f"+) {word}: {meaning}" for word, meaning in option.choices.items()]
    elif option.kind in ("number", "size", "floor", "share", "choices"):
        lines.append(f"Allowed: {option.allowed}.")
    if default := option.text(option.default):
        lines.append(f"Default: {default}{' ' + option.unit if option.unit and option.kind == 'number' else ''}")
    if option.cost:
        lines.append(f"Costs: {option.cost}")
    if option.since != "VCB":
        lines.append("Not an option of VCB.")
    return "\n".join(lines)


def _commented(option: Option[Any]) -> str:
    return option.text(option.default) or _EXAMPLES.get(option.name, "")


def _toml_value(option: Option[Any], text: str) -> str:
    value = native(option, text)
    if isinstance(value, list):
        return f"[{', '.join(_toml_text(item) for item in value)}]"
    return str(value) if isinstance(value, int) and option.kind == "number" else _toml_text(text)


def _toml_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _wrapped(text: str, prefix: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        hanging = prefix + ("   " if paragraph.startswith("+) ") else "")
        wrapped = textwrap.wrap(paragraph, _WIDTH, initial_indent=prefix, subsequent_indent=hanging,
                                break_long_words=False, break_on_hyphens=False)  # fmt: skip
        lines += wrapped or [prefix.rstrip()]
    return lines


def _comment_js(text: str) -> str:
    return "\n".join(["/*", *_wrapped(text, " * "), " */"]) + ("\n" if text.startswith("Configuration") else "")


def _comment_toml(text: str) -> str:
    return "\n".join(_wrapped(text, "# ")) + "\n"
