"""vcb restore: a point back as local files, as a new VM, or over the VM's own disks."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.text import Text

from engine.cancel import CancelToken
from engine.config.options import Settings
from engine.errors import ConfigError
from engine.reporter import Reporter
from tui.cli import render
from tui.cli.flags import Common, JsonFlag, settings_from, unchecked_settings, with_password
from tui.cli.job_commands import watched
from tui.cli.screen import Screen
from tui.figures import clean, duration, fit, size

FILES = Group("As local files", sort_key=1)
VM = Group("As a new VM (without --to)", sort_key=2)
IN_PLACE = Group("Over the VM's own disks", sort_key=3)
ONE_DISK = Group("One disk as a new disk of a VM that exists", sort_key=4)

PointName = Annotated[
    str,
    Parameter(
        name="POINT",
        required=True,
        help="A restore point: its directory, or VM/TIME below BACKUPROOT/points.",
    ),
]
Disks = Annotated[
    tuple[str, ...],
    Parameter(
        name="--disk",
        negative=(),
        show_default=False,
        group=FILES,
        help="Only this disk, by name (scsi0:1) or label. May be given more than once.",
    ),
]


def _place(text: str) -> Any:
    return Parameter(group=VM, show_default=False, help=f"{text}: a name, an inventory path or a moref.")


def _switch(text: str, name: str | None = None) -> Any:
    return Parameter(name=name, group=VM, negative=(), show_default=False, help=text)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class VmFlags:
    """What the new VM is to be."""

    name: Annotated[str, Parameter(group=VM, show_default=False, help="Default: NAME-restored-TIME.")] = ""
    datastore: Annotated[str, _place("Where its disks go")] = ""
    pool: Annotated[str, _place("Resource pool")] = ""
    folder: Annotated[str, _place("Folder of VMs")] = ""
    on_host: Annotated[str, _place("ESXi host to make it on")] = ""
    network: Annotated[
        tuple[str, ...],
        Parameter(
            group=VM, negative=(), show_default=False, metavar="OLD=NEW",
            help="Which network takes the place of one of the VM's. May be given more than once.",
        ),
    ] = ()  # fmt: skip
    keep_identity: Annotated[
        bool, _switch("Keep MAC addresses and UUIDs: for a VM that is gone, not for a copy beside it.")
    ] = False
    connect: Annotated[bool, _switch("Connect its network adapters; otherwise they are disconnected.")] = False
    power_on: Annotated[bool, _switch("Power it on at the end; otherwise it stays off.")] = False
    yes: Annotated[bool, _switch("Do not ask.")] = False
    dry_run: Annotated[bool, _switch("Show what would be made, and make nothing.")] = False


def restore(
    point: PointName,
    /,
    *,
    to: Annotated[
        Path | None,
        Parameter(group=FILES, show_default=False, help="Directory, made if missing. Nothing in it is overwritten."),
    ] = None,
    format: Annotated[  # noqa: A002 - the flag's name
        Literal["vmdk", "raw", "qcow2"],
        Parameter(group=FILES, help="vmdk: streamOptimized; raw: sparse; qcow2: written by qemu-img."),
    ] = "vmdk",
    disk: Disks = (),
    in_place: Annotated[
        bool,
        Parameter(
            group=IN_PLACE,
            negative=(),
            show_default=False,
            help="Overwrite the VM's disks where they differ; the VM must be off and without snapshots.",
        ),
    ] = False,
    attach_to: Annotated[
        str,
        Parameter(group=ONE_DISK, show_default=False, help="The VM, which must be off: name:, uuid:, moref: ..."),
    ] = "",
    vm: VmFlags | None = None,
    json: JsonFlag = False,
    common: Common = None,
) -> int:
    """Restore a point: as a new VM; with --to its disks as local files; --in-place; or one disk with --attach-to.

    Everything is proven against the point. Files and a new VM overwrite nothing, and a failure leaves nothing. A new VM
    is powered off, its network adapters disconnected, and named anew unless told otherwise. In place the VM's own disks
    become what they were; there is no way back from it, so it asks for the VM's name.
    """
    screen, vm = Screen(as_json=json), vm or VmFlags()
    if to is not None:
        if vm != VmFlags() or in_place or attach_to:
            raise ConfigError("--to restores to files; the flags of a new VM do not go with it.")
        return _to_files(screen, unchecked_settings(common), point, to, format, disk)
    if format != "vmdk" or (disk and not in_place and not attach_to):
        raise ConfigError("--disk and --format are for files: name a directory with --to.")
    if (in_place or attach_to) and replace(vm, yes=False, dry_run=False) != VmFlags():
        raise ConfigError("--in-place and --attach-to make no VM; the flags of a new VM do not go with them.")
    if in_place and attach_to:
        raise ConfigError("A disk goes back in place, or is added to a VM: not both.")
    if attach_to:
        return _one_disk(screen, settings_from(common), point, disk, attach_to, vm)
    if in_place:
        return _in_place(screen, settings_from(common), point, disk, vm)
    return _to_vm(screen, settings_from(common), point, vm)


def _to_files(  # noqa: PLR0917
    screen: Screen, settings: Settings, point: str, to: Path, kind: Any, disks: tuple[str, ...]
) -> int:
    from engine.flow.restore_to_files import file_names, restore_files  # noqa: PLC0415
    from engine.points.restore_files import chosen_disks, find_point  # noqa: PLC0415

    found = find_point(point, settings.BACKUPROOT)
    names = file_names(chosen_disks(found, disks), kind)
    screen.line(f"Restoring {found.manifest.vm.name} of {found.directory.name} to {to}: {', '.join(names)}")

    def work(report: Reporter, cancel: CancelToken) -> Any:
        threads = settings.COMPRESSION_THREADS
        return restore_files(found, to, kind, report, cancel, disks=disks, threads=threads)

    return conclude(screen, watched(screen, settings, work))


def _to_vm(screen: Screen, settings: Settings, point: str, flags: VmFlags) -> int:
    from engine.flow.restore_plan import VmWish  # noqa: PLC0415
    from engine.flow.restore_to_vm import plan_vm, restore_vm  # noqa: PLC0415 - pyVmomi takes half a second
    from engine.points.restore_files import find_point  # noqa: PLC0415
    from engine.vsphere.placement import Wish  # noqa: PLC0415

    found = find_point(point, settings.BACKUPROOT)
    settings = with_password(settings)
    wish = VmWish(
        name=flags.name,
        placement=Wish(flags.datastore, flags.pool, flags.folder, flags.on_host, _networks(flags.network)),
        keep_identity=flags.keep_identity,
        connect=flags.connect,
        power_on=flags.power_on,
    )
    plan = watched(screen, settings, lambda report, cancel: plan_vm(found, wish, settings, report, cancel)).to_json()
    screen.show(proposal(plan, f"{found.manifest.vm.name} of {found.directory.name}", settings.HOST, screen.width))
    if flags.dry_run:
        screen.result({"plan": plan})
        return 0
    if not flags.yes and not _confirmed(screen, plan["name"], settings.HOST):
        screen.line("Nothing was made.")
        screen.result({"result": "cancelled", "exit_code": 130, "plan": plan})
        return 130
    wish = replace(wish, name=plan["name"])  # what was shown is what is made
    return conclude(
        screen, watched(screen, settings, lambda report, cancel: restore_vm(found, wish, settings, report, cancel))
    )


def _in_place(screen: Screen, settings: Settings, point: str, disks: tuple[str, ...], flags: VmFlags) -> int:
    from engine.flow.restore_in_place import plan_in_place, restore_in_place  # noqa: PLC0415
    from engine.points.restore_files import find_point  # noqa: PLC0415

    found = find_point(point, settings.BACKUPROOT)
    settings = with_password(settings)
    plan = watched(
        screen, settings, lambda report, cancel: plan_in_place(found, disks, settings, report, cancel)
    ).to_json()
    screen.show(overwriting(plan, f"{found.manifest.vm.name} of {found.directory.name}", settings.HOST, screen.width))
    if flags.dry_run:
        screen.result({"plan": plan})
        return 0
    if not flags.yes and not _named(screen, plan["vm"]):
        screen.line("Nothing was overwritten.")
        screen.result({"result": "cancelled", "exit_code": 130, "plan": plan})
        return 130
    return conclude(
        screen,
        watched(screen, settings, lambda report, cancel: restore_in_place(found, disks, settings, report, cancel)),
    )


def _one_disk(  # noqa: PLR0917
    screen: Screen, settings: Settings, point: str, disks: tuple[str, ...], onto: str, flags: VmFlags
) -> int:
    from engine.flow.restore_disk import plan_disk, restore_disk  # noqa: PLC0415
    from engine.points.restore_files import find_point  # noqa: PLC0415

    if len(disks) > 1:
        raise ConfigError("--attach-to adds one disk at a time.")
    found, disk = find_point(point, settings.BACKUPROOT), "".join(disks)
    settings = with_password(settings)
    plan = watched(
        screen, settings, lambda report, cancel: plan_disk(found, disk, onto, settings, report, cancel)
    ).to_json()
    rows = [
        ("New disk of", plan["path"]),
        ("From", f"{plan['disk']} ({plan['label']}) of {found.manifest.vm.name}, {found.directory.name}"),
        ("File", plan["file"]),
        ("To write", f"{size(plan['to_write'])} of {size(plan['capacity'])}; {size(plan['free'])} are free"),
    ]
    screen.show(render.fields(rows, screen.width))
    if flags.dry_run:
        screen.result({"plan": plan})
        return 0
    if not flags.yes and not _confirmed(screen, "the disk", plan["vm"]):
        screen.line("Nothing was made.")
        screen.result({"result": "cancelled", "exit_code": 130, "plan": plan})
        return 130

    def work(report: Reporter, cancel: CancelToken) -> Any:
        return restore_disk(found, disk, onto, settings, report, cancel)

    return conclude(screen, watched(screen, settings, work))


def _named(screen: Screen, name: str) -> bool:
    """Whether the operator typed the VM's name. Raises `ConfigError` where nobody is there to ask."""
    if not sys.stdin.isatty():
        raise ConfigError("Overwriting disks wants a confirmation, and there is no terminal to ask.", hint="Add --yes.")
    screen.line(f"What was written since then is lost. Type {clean(name)} to overwrite its disks:", "bold red")
    return sys.stdin.readline().strip() == name


def overwriting(plan: dict[str, Any], source: str, host: str, width: int) -> list[Text]:
    """What an in-place restore destroys."""
    rows = [("Overwrites", plan["path"]), ("At", host), ("With", source), ("Transport", plan["transport"])]
    lines = render.fields(rows, width)
    for disk in plan["disks"]:
        lines.append(Text(f"  {fit(clean(disk['name']), 9)} {clean(disk['label'])}: {clean(disk['file'])}"))
    return lines


def _networks(pairs: tuple[str, ...]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f'--network needs OLD=NEW; "{pair}" has no "=".')
    return {old: new for old, _, new in (pair.partition("=") for pair in pairs)}


def _confirmed(screen: Screen, name: str, host: str) -> bool:
    """The operator's word, from a terminal. Raises `ConfigError` where nobody is there to ask."""
    if not sys.stdin.isatty():
        raise ConfigError("Making it wants a confirmation, and there is no terminal to ask.", hint="Add --yes.")
    screen.line(f"Make {clean(name)} on {clean(host)}? [y/N]", "bold")
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def proposal(plan: dict[str, Any], source: str, host: str, width: int) -> list[Text]:
    """The VM that would be made, so that its maker knows what he agrees to."""
    networks = ", ".join(f"{old} -> {new}" for old, new in plan["networks"].items())
    rows = [
        ("New VM", plan["name"]),
        ("From", source),
        ("At", host),
        ("Folder", plan["folder"]),
        ("Pool", plan["pool"]),
        ("Host", plan["host"]),
        ("Datastore", plan["datastore"]),
        ("Networks", networks),
        ("Adapters", plan["adapters"]),
        ("MAC and UUID", plan["identity"]),
        ("Power", plan["power"]),
    ]
    lines = render.fields(rows, width)
    for disk in plan["disks"]:
        figures = f"{size(disk['to_read'])} of {size(disk['capacity'])}"
        lines.append(Text(f"  {fit(clean(disk['name']), 9)} {clean(disk['label'])}: {figures}"))
    return lines + [Text(f"  {clean(text)}", "yellow") for text in plan["missing"]]


def conclude(screen: Screen, outcome: Any) -> int:
    """Shows how a restore ended, and the machine's line; the exit code."""
    shape = outcome.to_json()
    code = outcome.error.exit_code if outcome.error else outcome.state.exit_code
    screen.line()
    screen.show(summary(shape, screen.width))
    screen.result(shape | {"exit_code": code})
    return code


def summary(shape: dict[str, Any], width: int) -> list[Text]:
    """State, disks with their targets, and what went wrong."""
    state = shape["state"]
    lines = [Text.assemble((state.upper(), render.STATE_STYLES.get(state, "bold")), f"  {clean(shape['vm'])}")]
    if shape["error"] and state != "cancelled":
        lines += render.failure(shape["error"], width)
    else:
        lines.append(Text(f"  {clean(shape['sentence'])}"))
    for disk in shape["disks"]:
        figures = f"{size(disk['read']):>9} in {duration(disk['seconds'])}"
        lines.append(Text(f"  {fit(clean(disk['name']), 9)} {figures}  {clean(disk['target'])}"))
    return lines + [Text(f"  left behind: {clean(left)}", "bold red") for left in shape["leftovers"]]
