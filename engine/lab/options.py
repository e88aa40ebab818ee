"""OptionManager: the one setting of the server that clients and tests change, the session's idle time."""

from __future__ import annotations

import re
from typing import Any

from pyVmomi import vim

from engine.lab.registry import MO

SESSION_TIMEOUT = "config.vmacore.soap.sessionTimeout"
UNITS = {"": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0}  # a bare number is minutes, as on a vCenter


class OptionManager(MO):
    vim = vim.option.OptionManager

    def __init__(self, lab: Any, moid: str) -> None:
        super().__init__(lab, moid, supportedOption=[])
        self.props["setting"] = self._all

    def _all(self) -> list[Any]:
        seconds = self.lab.sessions.idle
        return [
            vim.option.OptionValue(key=SESSION_TIMEOUT, value=f"{seconds:g}s"),
            vim.option.OptionValue(key="VirtualCenter.InstanceName", value="vcenter.lab"),
        ]

    def QueryOptions(self, ctx: Any, name: str | None = None) -> list[Any]:
        """All settings, one by its name, or the branch whose name ends in a dot."""
        found = [o for o in self._all() if not name or o.key == name or (name.endswith(".") and o.key.startswith(name))]
        if not found:
            raise vim.fault.InvalidName(name=name)
        return found

    def UpdateOptions(self, ctx: Any, changedValue: Any) -> None:
        self.lab.access.demand(ctx.session.user, [(self, "Global.Settings")])
        for option in changedValue:
            match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(option.value))
            if option.key != SESSION_TIMEOUT or not match:
                raise vim.fault.InvalidName(name=option.key)
            self.lab.sessions.idle = float(match[1]) * UNITS[match[2]]
            self.touch("setting")
