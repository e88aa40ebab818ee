"""The header: where this console is connected, as whom, how far that is to be trusted, and what runs."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui.glyphs import Glyphs
from tui.status import Link, Status


class StatusBar(Widget):
    DEFAULT_CSS = """
    StatusBar { height: 1; dock: top; background: $panel; color: $foreground; padding: 0 1; }
    """

    status: reactive[Status] = reactive(Status())

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs

    def render(self) -> Content:
        width = self.size.width
        right = self._jobs()
        for left in self._lefts():
            if left.cell_length + right.cell_length + 2 <= width:
                break
        gap = max(1, width - left.cell_length - right.cell_length)
        return Content.assemble(left, " " * gap, right)

    def _lefts(self) -> list[Content]:
        """From all that there is to the least that matters; the first one that has room is shown."""
        status = self.status
        name = Content.styled("vcb", "bold $accent")
        where = Content.assemble(self._link(), " ", Content.styled(status.host or "no vCenter named", "bold"))
        user = Content.styled(status.user, "$muted") if status.user else None
        short = Content.styled(status.user.partition("@")[0], "$muted") if status.user else None
        trust = self._certificate() if status.certificate and status.host else None
        transport = Content(status.transport) if status.transport else None
        return [
            self._joined(name, where, user, trust, transport),
            self._joined(name, where, short, trust, transport),
            self._joined(name, where, trust, transport),
            self._joined(where, trust, transport),
            self._joined(where, transport),
            self._joined(where),
        ]

    def _joined(self, *parts: Content | None) -> Content:
        between = Content.styled(f" {self._glyphs.separator} ", "$rule")
        return between.join([part for part in parts if part is not None])

    def _link(self) -> Content:
        glyphs = self._glyphs
        return {
            Link.UP: Content.styled(glyphs.powered_on, "$state-ok"),
            Link.CONNECTING: Content.styled(glyphs.waiting, "$state-running"),
            Link.DOWN: Content.styled(glyphs.error, "$state-error"),
            Link.NONE: Content.styled(glyphs.powered_off, "$state-off"),
        }[self.status.link]

    def _certificate(self) -> Content:
        if self.status.certificate_bad:
            return Content.styled(f"{self._glyphs.warning} {self.status.certificate}", "$state-error")
        return Content.styled(f"{self._glyphs.ok} {self.status.certificate}", "$state-ok")

    def _jobs(self) -> Content:
        count, left = self.status.running, self.status.leftovers
        if left and not count:
            words = f"{left} dead job{'s' if left > 1 else ''} left something"
            return Content.styled(f"{self._glyphs.warning} {words}", "$state-warning")
        if not count:
            return Content.styled("no job runs", "$muted")
        words = "1 job runs" if count == 1 else f"{count} jobs run"
        return Content.styled(f"{self._glyphs.running} {words}", "$state-running")
