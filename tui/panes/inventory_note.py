"""The words beside the inventory's title: how much there is, what is filtered, marked and sorted."""

from tui.models.inventory import InventoryModel
from tui.models.inventory_order import SORTS
from tui.models.node_tree import ROOT

WORDS = {"connecting": "connecting", "loading": "loading", "live": "live", "lost": "LOST", "refused": "NOT CONNECTED"}
"""By the state of the link to vCenter."""


def note(model: InventoryModel) -> str:
    status, parts = model.status, []
    if status.state == "loading":
        parts.append(f"loading {status.loaded:,} of {status.total:,}")
    elif status.state != "live":
        parts.append(WORDS[status.state])
    elif model.filtered is None:
        parts.append(f"{model.counts[ROOT]:,} VMs")
    if model.filtered is not None:
        parts.append(f"/{model.needle} {model.filtered:,} of {model.counts[ROOT]:,}")
    if model.marked:
        parts.append(f"{len(model.marked):,} marked")
    if model.sort != "name":
        parts.append(SORTS[model.sort])
    return ", ".join(parts)
