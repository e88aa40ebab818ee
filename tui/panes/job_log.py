"""The pane "Job log"."""

from tui.panes.pane import Pane


class JobLogPane(Pane, can_focus=True):
    pane_id = "job_log"
    pane_title = "Job log"
    purpose = "What the running and the past jobs say."

    def render(self) -> str:
        return self.purpose
