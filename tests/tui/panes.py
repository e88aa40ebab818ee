"""Panes without contents, so that tests of the console's frame don't depend on what fills it."""

from typing import Any

from tui.commands import Command
from tui.panes.pane import Pane


class Plain(Pane, can_focus=True):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.kept: dict[str, Any] = {}

    def render(self) -> str:
        return self.purpose

    def save_state(self) -> dict[str, Any]:
        return self.kept

    def restore_state(self, state: dict[str, Any]) -> None:
        self.kept = state


class PlainInventory(Plain):
    pane_id, pane_title, purpose = "inventory", "Inventory", "VMs and their disks."
    commands = (
        Command("inventory.mark", "Mark the VM", "Adds the VM to the selection.", ("space",), footer="Mark"),
        Command("inventory.remove", "Remove the VM", "Forgets the VM.", ("d",), footer="Remove", danger=True),
        Command("inventory.break", "Break", "Raises what no one foresaw.", ("x",)),
    )

    def why_not(self, command: Command) -> str:
        return "There is no VM here." if command.id == "inventory.remove" else ""

    def action_mark(self) -> None:
        self.done.append("mark")

    def action_break(self) -> None:
        raise ZeroDivisionError("password is hunter22")


class PlainConfig(Plain):
    pane_id, pane_title, purpose = "config", "Configuration", "The options."


class PlainLog(Plain):
    pane_id, pane_title, purpose = "job_log", "Job log", "What jobs say."
    commands = tuple(
        Command(
            f"job_log.level_{level}", f"Show level {level}", "Hides what is above it.", (str(level),),
            method="level", argument=level,
        )
        for level in range(7)
    )  # fmt: skip

    def action_level(self, level: int) -> None:
        self.done.append(f"level {level}")


PLAIN = (PlainInventory, PlainConfig, PlainLog)
