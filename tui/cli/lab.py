"""vcb lab: the embedded vSphere alone, for govc, scripts and rehearsals."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def lab(
    *,
    state: Path,
    port: int = 0,
    nfc_port: int = 0,
    vms: int | None = None,
    esx: Annotated[bool, Parameter(negative=())] = False,
    record: Annotated[bool, Parameter(negative=())] = False,
    guest: bool = True,
    domain: Path | None = None,
    luns: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run an embedded vSphere on the loopback interface until it gets SIGTERM or Ctrl-C.

    Prints one line of JSON when it is ready: url, nfc_port, user, password, ca_file, control_url.

    Parameters
    ----------
    state
        Directory that keeps the lab between runs: inventory, disks, certificates, password.
    port
        HTTPS port; 0 takes any free one.
    nfc_port
        Port of the disk protocol NFC; 0 takes any free one.
    vms
        So many VMs without content instead of the demo inventory.
    esx
        Be a single ESXi host instead of a vCenter.
    record
        Keep a raw image of every disk that a snapshot freezes, to compare backups with.
    guest
        Let the running VMs keep writing to their disks.
    domain
        Join the domain whose accounts stand in this file, one DOMAIN:USER:PASSWORD a line: LoginBySSPI works then.
    luns
        VMFS datastores lie on LUN images, whose links by identity are in the directory that the JSON line names
        `san_devices`: SAN_DEVICES of a backup over san. Decided when the state directory is new.
    """
    from engine.lab.runner import main  # noqa: PLC0415 - the lab is heavy, and only this command needs it

    arguments = ["--state", str(state), "--port", str(port), "--nfc-port", str(nfc_port)]
    arguments += ["--vms", str(vms)] if vms is not None else []
    arguments += ["--esx"] if esx else []
    arguments += ["--record"] if record else []
    arguments += [] if guest else ["--no-guest"]
    arguments += ["--luns"] if luns else []
    arguments += ["--domain", str(domain)] if domain else []
    return main(arguments)
