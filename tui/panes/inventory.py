"""The pane "Inventory"."""

from tui.panes.pane import Pane


class InventoryPane(Pane, can_focus=True):
    pane_id = "inventory"
    pane_title = "Inventory"
    purpose = "vCenter, its VMs and their disks. Here you see what is backed up, and choose what to back up next."

    def render(self) -> str:
        return self.purpose
