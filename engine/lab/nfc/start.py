"""Put NFC into a lab: the port, and the managed object that issues its tickets."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from engine.lab.nfc.server import NfcServer
from engine.lab.nfc.service import NfcService


def start_nfc(vsphere: Any, port: int = 0) -> NfcServer:
    """A listening server (port 0: any free one) that shows the first host's certificate. Close it before the disks."""
    names = [host.props["name"] for host in vsphere.all_of(vim.HostSystem)]
    server = NfcServer(vsphere, vsphere.authority.issue(names[0] if names else "esx.lab"), port)
    for moid in ("ha-nfc", "ha-nfc-service") if vsphere.esx else ("nfcService",):
        NfcService(vsphere, moid, server, direct=vsphere.esx)
    return server.start()
