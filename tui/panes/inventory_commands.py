"""What the inventory pane offers; the pane has an `action_` method for each."""

from tui.commands import Command


def _motion(name: str, keys: tuple[str, ...], title: str) -> Command:
    return Command(f"inventory.{name}", title, f"{title}.", keys, hidden=True)


COMMANDS: tuple[Command, ...] = (
    Command(
        "inventory.filter",
        "Filter",
        "Shows only what fits, as you type: letters of a name in their order, an address, a folder, or a tag "
        "such as #snap, #never, #skip, #locked, #off. Esc shows everything again.",
        ("slash",),
        footer="Filter",
    ),
    Command(
        "inventory.mark",
        "Mark",
        "Marks the VM for a backup, or takes the mark away; on a folder all VMs in it that are shown.",
        ("space",),
        footer="Mark",
    ),
    Command(
        "inventory.backup",
        "Back up",
        "Shows the plan for the marked VMs, or the one under the cursor, and starts the job when you say so.",
        ("b",),
        footer="Backup",
    ),
    Command(
        "inventory.detail",
        "VM details",
        "Everything about the VM: disks, snapshots, restore points, and what a backup would skip.",
        ("i",),
        footer="Info",
    ),
    Command(
        "inventory.sort",
        "Sort",
        "By name, running first, largest first, oldest restore point first, oldest proof first; one after the other.",
        ("s",),
        footer="Sort",
    ),
    Command(
        "inventory.jump",
        "Jump to a VM",
        "Moves to the VM whose name fits best while you type it.",
        ("g",),
    ),
    Command(
        "inventory.mark_all",
        "Mark all shown",
        "Marks every VM that the filter shows; takes the marks away when all have one.",
        ("asterisk",),
    ),
    Command(
        "inventory.unmark",
        "Take all marks away",
        "Nothing is marked any more.",
        ("u",),
    ),
    Command(
        "inventory.group",
        "Folders or hosts",
        "Groups the VMs by folder, or by cluster and host.",
        ("v",),
    ),
    Command(
        "inventory.mount",
        "Mount",
        "Exports the marked VMs, or the one under the cursor, for other backup software, and leaves mount "
        "point and snapshot until unmount; shows the plan first.",
        ("m",),
    ),
    Command(
        "inventory.points",
        "Restore points",
        "The restore points of the VM under the cursor: when and how deep each was proven; verify, restore, clear out.",
        ("p",),
    ),
    Command(
        "inventory.reconnect",
        "Connect again",
        "Tries vCenter again now; asks for the password when it was refused or is missing.",
        ("r",),
    ),
    Command(
        "inventory.fold",
        "Open or close",
        "Shows or hides what the node holds: a VM's disks, a folder's VMs.",
        ("enter",),
    ),
    Command(
        "inventory.clear",
        "Clear the filter",
        "Shows everything again.",
        ("escape",),
    ),
    _motion("up", ("up", "k"), "One up"),
    _motion("down", ("down", "j"), "One down"),
    _motion("page_up", ("pageup",), "One page up"),
    _motion("page_down", ("pagedown",), "One page down"),
    _motion("first", ("home",), "To the first"),
    _motion("last", ("end",), "To the last"),
    _motion("open", ("right", "l"), "Open, or go inside"),
    _motion("close", ("left", "h"), "Close, or go outside"),
)
