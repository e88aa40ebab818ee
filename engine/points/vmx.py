"""What a restore takes from a saved .vmx file."""

import re

_LINE = re.compile(r'^\s*([\w.:]+)\s*=\s*"(.*)"\s*$')
_NIC = re.compile(r"ethernet(\d+)\.(present|address|generatedaddress)")


def mac_addresses(text: str) -> tuple[str, ...]:
    """The addresses of the network adapters that are present, in the order of their numbers: a fixed one where it has
    one, else the generated one. Keys are matched without regard to case, as ESXi does."""
    adapters: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        if (pair := _LINE.match(line)) and (key := _NIC.fullmatch(pair[1].lower())):
            adapters.setdefault(int(key[1]), {})[key[2]] = pair[2]
    found = (nic for _, nic in sorted(adapters.items()) if nic.get("present", "TRUE").upper() != "FALSE")
    macs = (nic.get("address") or nic.get("generatedaddress") or "" for nic in found)
    return tuple(mac for mac in macs if mac)
