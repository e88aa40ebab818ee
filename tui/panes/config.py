"""The pane "Configuration"."""

from tui.panes.pane import Pane


class ConfigPane(Pane, can_focus=True):
    pane_id = "config"
    pane_title = "Configuration"
    purpose = "The options of the configuration file, what each means here, and what is wrong with them."

    def render(self) -> str:
        return self.purpose
