"""Put NFC into a lab: the port, and the managed object that issues its tickets."""

from __future__ import annotations

from typing import Any

from engine.lab.nfc.server import NfcServer
from engine.lab.nfc.service import NfcService


def start_nfc(vsphere: Any, host_name: str, port: int = 0) -> NfcServer:
    """A listening server (port 0: any free one). `host_name` is the ESXi host whose certificate it shows. The caller
    closes it before the disks."""
    server = NfcServer(vsphere, vsphere.authority.issue(host_name), port)
    for moid in ("ha-nfc", "ha-nfc-service") if vsphere.esx else ("nfcService",):
        NfcService(vsphere, moid, server, direct=vsphere.esx)
    return server.start()
