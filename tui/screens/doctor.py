"""What a backup will need, looked at before it is needed."""

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from engine.config.options import Settings
from engine.jobs.request import Act
from tui.cli.doctor_command import lines
from tui.screens.looking import LookingScreen


class DoctorScreen(LookingScreen):
    act = Act.DOCTOR

    def __init__(self, settings: Settings) -> None:
        super().__init__("Doctor", "vcb doctor", settings)

    def lines(self, summary: dict[str, Any]) -> Iterable[Text]:
        rows = summary.get("checks", [])
        yield from lines(rows)
        if rows:
            yield Text(f"\n{summary['sentence']}", "bold")
