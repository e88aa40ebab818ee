"""What the configuration pane does beyond the form: saving, conflicts, history, passwords, files, the connection."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.worker import get_current_worker

from engine.config.document import Document
from engine.config.finding import Finding
from engine.config.options import OPTIONS
from engine.errors import ConflictError, VcbError
from engine.secret import redact
from tui.panes.pane import Pane

if TYPE_CHECKING:
    from engine.config import saving
    from tui.models.open_config import OpenConfig


class ConfigActs(Pane):
    """`config` is the open file, None while there is none or it cannot be opened."""

    config: "OpenConfig | None" = None

    def config_changed(self) -> None:
        """The document or its base is another: shows it."""
        raise NotImplementedError

    def go_to_finding(self, options: tuple[str, ...], line: int) -> None:
        """Shows the option, or the line of the file."""
        raise NotImplementedError

    def findings_here(self) -> list[Finding]:
        """Of the option or the line at the cursor."""
        raise NotImplementedError

    def open_file(self, path: Path) -> bool:
        """Opens another file; what was edited stays as the draft of the file before."""
        raise NotImplementedError

    @work(exclusive=True, group="config-act")
    async def action_save(self) -> None:
        if self.config is not None and not await self.saved():
            self.config_changed()

    async def saved(self) -> bool:
        """Asks, and saves. False when nothing was saved."""
        from tui.models.option_form import command_line  # noqa: PLC0415
        from tui.screens.save import SaveScreen  # noqa: PLC0415 - a dialog is imported when it is wanted

        config = self.config
        assert config is not None
        if not config.dirty:
            self.app.notify("Nothing is changed.", title=config.path.name)
            return False
        errors = config.errors()
        cautions = [*config.base.cautions, *(f"{name} is replaced." for name in self._secrets_changed())]
        answer = await self.app.push_screen_wait(
            SaveScreen(config.path.name, config.difference(), errors, cautions, command_line(config))
        )
        if answer == "go to error":
            self.go_to_finding(errors[0].options, errors[0].line)
        if answer not in ("save", "save invalid"):
            return False
        try:
            return self._told(config.save(allow_invalid=answer == "save invalid"))
        except ConflictError as conflict:
            return await self._settled(conflict, allow_invalid=answer == "save invalid")
        except VcbError as error:
            self.complain(error)
            return False

    async def _settled(self, conflict: ConflictError, *, allow_invalid: bool) -> bool:
        from engine.config import saving  # noqa: PLC0415
        from tui.screens.conflict import ConflictScreen  # noqa: PLC0415

        config = self.config
        assert config is not None
        screen = ConflictScreen(conflict, config.path)
        answer = await self.app.push_screen_wait(screen)
        if answer is None:
            return False
        try:
            data, base = saving.read(config.path)
            if data != (conflict.disk or b""):
                self.app.notify("It changed once more meanwhile: look again.", severity="warning")
                return False
            if answer == "theirs":
                config.take_theirs()
                self.config_changed()
                self.app.notify("The file as it is on the disk; u brings your changes back.")
                return True
            merged = screen.view.merged if answer == "merge" else conflict.mine
            assert merged is not None
            what = f"{config.what}, merged" if answer == "merge" else config.what
            return self._told(config.save_data(merged, base, allow_invalid=allow_invalid, what=what))
        except VcbError as error:
            self.complain(error)
            return False

    def _secrets_changed(self) -> list[str]:
        assert self.config is not None
        return [name for name in self.config.changed_names if name in OPTIONS and OPTIONS[name].secret]

    def _told(self, saved: "saving.Saved") -> bool:
        assert self.config is not None
        for note in saved.notes:
            self.app.notify(redact(note), severity="warning", timeout=12)
        self.app.notify(f"Saved {saved.file}." if saved.written else f"{saved.file} stays as it is.")
        self.app.adopt(self.config.settings, self.config.path)
        self.config_changed()
        return True

    @work(exclusive=True, group="config-act")
    async def action_history(self) -> None:
        from tui.screens.config_history import ConfigHistoryScreen  # noqa: PLC0415

        config = self.config
        assert config is not None
        try:
            versions = config.history.versions()
            here = config.history.current(config.base.data)
        except VcbError as error:
            self.complain(error)
            return
        version = await self.app.push_screen_wait(
            ConfigHistoryScreen(config.path, versions, here.number if here else 0, config.data)
        )
        if version is not None and config.restore(version.data, f"restore {version.number}"):
            self.config_changed()
            self.app.notify(f"Version {version.number} stands in the editor; s saves it, u takes it back.")

    @work(exclusive=True, group="config-act")
    async def action_password(self) -> None:
        from tui.screens.store_password import StorePasswordScreen  # noqa: PLC0415

        config = self.config
        assert config is not None
        stored = await self.app.push_screen_wait(StorePasswordScreen(config.settings))
        if stored is None:
            return
        self.app.notify(stored.told, timeout=10)
        if stored.file is not None and stored.file != config.settings.PASSWORD_FILE:
            try:
                config.set("PASSWORD_FILE", str(stored.file))
            except VcbError as error:
                self.complain(error)
        if "PASSWORD" in config.values:
            config.remove("PASSWORD")
            self.app.notify("PASSWORD is taken out of the file, where it overrides all else; s saves that.")
        self.config_changed()

    @work(exclusive=True, group="config-act")
    async def action_files(self) -> None:
        from tui.screens.config_files import ConfigFilesScreen  # noqa: PLC0415

        path = await self.app.push_screen_wait(ConfigFilesScreen(self.config.path if self.config else None))
        if path is not None:
            self.open_file(path)

    @work(exclusive=True, group="config-act")
    async def action_test(self) -> None:
        from tui.screens.connection_result import ConnectionScreen  # noqa: PLC0415

        config = self.config
        assert config is not None
        approved = await self.app.push_screen_wait(ConnectionScreen(config.settings, config.path))
        if approved is not None:
            config.set("THUMBPRINT", approved)
            self.config_changed()
            self.app.notify("THUMBPRINT is set; s saves it.")

    def action_repair(self) -> None:
        assert self.config is not None
        offered = [finding for finding in self.findings_here() if finding.repair]
        if not offered:
            self.app.notify("No repair is offered here; n goes to the next finding.")
            return
        try:
            self.config.repair(offered[0])
        except VcbError as error:
            self.complain(error)
            return
        self.config_changed()
        self.app.notify("Repaired; u takes it back.")

    def action_undo(self) -> None:
        self.stepped("undo")

    def action_redo(self) -> None:
        self.stepped("redo")

    def stepped(self, which: str) -> None:
        """`which`: undo or redo."""
        config = self.config
        assert config is not None
        try:
            what = config.undo() if which == "undo" else config.redo()
        except VcbError as error:
            self.complain(error)
            return
        if what:
            self.config_changed()
        self.app.notify(f"{which.capitalize()}: {what}" if what else f"There is nothing to {which}.")

    @work(thread=True, exclusive=True, group="config-thread-check")
    def look_at_machine(self) -> None:
        """Asks the machine about directories and modes, which may take long where a file server is away."""
        config = self.config
        if config is None:
            return
        document, findings = config.full_check()
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._take_findings, config, document, findings)

    def _take_findings(self, config: "OpenConfig", document: Document, findings: list[Finding]) -> None:
        if config is self.config and config.take_findings(document, findings):
            self.show_findings()

    def show_findings(self) -> None:
        raise NotImplementedError

    def complain(self, error: VcbError) -> None:
        """An error as a notice, with what to do about it."""
        text = redact(f"{error} {error.hint}" if error.hint else str(error))
        self.app.notify(text, severity="error", timeout=15)
