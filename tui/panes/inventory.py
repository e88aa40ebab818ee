"""The pane "Inventory": vCenter's VMs, live, and what a backup can be made of."""

from collections.abc import Callable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config.options import Origin, Settings
from engine.config.secrets import PROMPTED
from engine.jobs.inventory_rows import MachineRow
from engine.jobs.request import Act
from engine.secret import Secret
from tui.commands import Command
from tui.feed import JobRow
from tui.feed_inventory import InventoryFeed
from tui.models.inventory import Change, InventoryModel
from tui.models.inventory_order import SORTS
from tui.models.job_marks import marks
from tui.models.node_tree import ROOT, Kind
from tui.panes.inventory_commands import COMMANDS
from tui.panes.inventory_note import WORDS, note
from tui.panes.pane import Pane
from tui.status import Link
from tui.widgets.flat_tree import FlatTree
from tui.widgets.inventory_line import age

_LEADS_TO_VCENTER = (
    "HOST", "PORT", "USERNAME", "PASSWORD", "PASSWORD_FILE", "CA_FILE", "THUMBPRINT", "BACKUPROOT", "HTTP_TIMEOUT"
)  # fmt: skip
"""Options that the inventory worker goes by: with another value it begins anew."""


class InventoryPane(Pane):
    pane_id = "inventory"
    pane_title = "Inventory"
    purpose = (
        "vCenter, its VMs and their disks, live. Here you see what is backed up and how old it is, what a backup would "
        "skip and why, and you choose what to back up next."
    )
    commands: ClassVar[tuple[Command, ...]] = COMMANDS

    DEFAULT_CSS = """
    InventoryPane {
        layout: vertical;
        & > FlatTree { height: 1fr; }
        & > #inventory-state { height: auto; max-height: 3; color: $muted; padding: 0 1; display: none; }
        & > #inventory-state.-bad { color: $state-error; }
        & > Input { height: 1; border: none; padding: 0 1; display: none; background: $surface; }
        & > Input:focus { border: none; }
        & > .-open { display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = InventoryModel()
        self.tree_view = FlatTree(self.model)
        self.feed = InventoryFeed(self.model, self._changed, self._when_clear)
        self._state_line = Static("", id="inventory-state", markup=False)
        self._input = Input(id="inventory-words", compact=True)
        self._jumping = False
        self._jobs: tuple[JobRow, ...] = ()
        self._cursor_before = ""

    def compose(self) -> ComposeResult:
        self.tree_view.lines_of.signs = self.app.glyphs
        yield self._state_line
        yield self.tree_view
        yield self._input

    def on_mount(self) -> None:
        self._input.cursor_blink = False
        self.connect(self.app.settings)

    def on_unmount(self) -> None:
        self.feed.stop()

    def connect(self, settings: Settings) -> None:
        """Follows the server of these settings from now on."""
        if not settings.HOST or not settings.USERNAME:
            self._tell("No vCenter is configured yet: set HOST and USERNAME in the configuration (2).", bad=False)
            self.note = "not connected"
            return
        self.model.reset()
        self.tree_view.rebuilt()
        self.feed.start(settings)

    def settings_changed(self, before: Settings) -> None:
        now = self.app.settings
        if any(before.value_of(name) != now.value_of(name) for name in _LEADS_TO_VCENTER):
            self.connect(now)

    def focus_target(self) -> Widget:
        return self.tree_view

    @property
    def typing(self) -> bool:
        return self._input.has_class("-open")

    def why_not(self, command: Command) -> str:
        needs_vm = ("inventory.backup", "inventory.mount", "inventory.detail", "inventory.points")
        if command.id in needs_vm and not self._chosen():
            return self._no_vm()
        return ""

    def _no_vm(self) -> str:
        slot = self.tree_view.cursor_slot
        if slot is None:
            return "There is no VM here."
        held = self.model.counts[slot]
        vms = "the VM in it" if held == 1 else f"the {held} VMs in it"
        return f"The cursor is on {self.model.name(slot)}, which is no VM. Space marks {vms}; or go to one first."

    def save_state(self) -> dict[str, Any]:
        model = self.model
        return {
            "filter": model.needle,
            "sort": model.sort,
            "grouping": model.grouping,
            "flipped": sorted(model.flipped)[:5000],
            "cursor": self.tree_view.cursor_id or self._cursor_before,
        }

    def restore_state(self, state: dict[str, Any]) -> None:
        model = self.model
        flipped = state.get("flipped")
        if isinstance(flipped, list):
            model.flipped = {each for each in flipped if isinstance(each, str)}
        if isinstance(cursor := state.get("cursor"), str):
            self.tree_view.cursor_id = cursor
        model.set_sort(str(state.get("sort", "name")))
        model.set_grouping(str(state.get("grouping", "folder")))
        model.set_filter(str(state.get("filter", "")))
        self._say_note()

    # What comes in

    def _when_clear(self, repaint: Callable[[], None]) -> None:
        self.app.when_clear(repaint)

    def _changed(self, change: Change) -> None:
        if change.shape and self._jobs:
            change.slots |= self.model.show_jobs(marks(self._jobs, self.model)).slots
        self.tree_view.show(change)
        if change.status:
            self._say_state()
            self._say_link()
        self._say_note()

    def show_jobs(self, jobs: tuple[JobRow, ...]) -> None:
        before, self._jobs = self._jobs, tuple(job for job in jobs if job.running)
        if not before and not self._jobs:
            return
        change = self.model.show_jobs(marks(self._jobs, self.model))
        if change.slots:
            self.tree_view.show(change)
        if {job.id for job in before} - {job.id for job in self._jobs}:
            self.feed.look_at_points()

    def _say_state(self) -> None:
        status = self.model.status
        trouble = status.trouble
        if trouble is None:
            self._tell("")
            return
        since = f" {age(self.model.clock() - status.since)} ago" if status.state == "lost" else ""
        todo = "It is tried again by itself; r tries now." if status.state == "lost" else "r tries again."
        self._tell(f"{WORDS[status.state]}{since}: {trouble.sentence} {trouble.hint} {todo}", bad=True)

    def _say_link(self) -> None:
        """The header's part."""
        status = self.model.status
        links = {"connecting": Link.CONNECTING, "loading": Link.UP, "live": Link.UP}
        code = status.trouble.code if status.trouble else ""
        bad: dict[str, Any] = {"certificate": "not trusted", "certificate_bad": True} if code == "trust" else {}
        self.app.tell(link=links.get(status.state, Link.DOWN), **bad)

    def _tell(self, text: str, *, bad: bool = False) -> None:
        self._state_line.update(text)
        self._state_line.set_class(bool(text), "-open")
        self._state_line.set_class(bad, "-bad")

    def _say_note(self) -> None:
        self.note = note(self.model)

    # Filter and jump

    def action_filter(self) -> None:
        self._ask("filter, or #snap #never #skip ...", self.model.needle, jumping=False)

    def action_jump(self) -> None:
        self._cursor_before = self.tree_view.cursor_id
        self._ask("name of the VM to jump to", "", jumping=True)

    def _ask(self, what: str, value: str, *, jumping: bool) -> None:
        self._jumping = jumping
        self._input.placeholder = what
        self._input.value = value
        self._input.add_class("-open")
        self._input.focus()
        self.post_message(self.Changed(self))

    @on(Input.Changed, "#inventory-words")
    def _typed(self, event: Input.Changed) -> None:
        if not self._input.has_class("-open"):
            return
        if self._jumping:
            slot = self.model.best(event.value)
            if slot is not None:
                self.model.reveal(slot)
                self.tree_view.rebuilt()
                self.tree_view.go_to(self.model.ids[slot])
            return
        self.model.set_filter(event.value)
        self.tree_view.rebuilt()
        self._onto_a_vm()
        self._say_note()

    def _onto_a_vm(self) -> None:
        """A filter is typed to find VMs: the cursor does not stay on what merely holds them."""
        slot, kinds = self.tree_view.cursor_slot, self.model.kinds
        if self.model.needle and slot is not None and kinds[slot] is Kind.PLACE:
            self.tree_view.go(next((row for row, each in enumerate(self.model.rows) if kinds[each] is Kind.LEAF), 0))

    @on(Input.Submitted, "#inventory-words")
    def _typed_all(self) -> None:
        self._close_input()
        self.post_message(self.StateChanged())

    def _close_input(self) -> None:
        self._input.remove_class("-open")
        self.tree_view.focus()
        self.post_message(self.Changed(self))

    def action_clear(self) -> None:
        if self._input.has_class("-open") and self._jumping:
            self.tree_view.go_to(self._cursor_before)
            self._close_input()
            return
        self._input.value = ""
        self._close_input()
        self.model.set_filter("")
        self.tree_view.rebuilt()
        self._say_note()
        self.post_message(self.StateChanged())

    # The tree

    def action_up(self) -> None:
        self.tree_view.move(-1)

    def action_down(self) -> None:
        if self._input.has_focus:
            self._close_input()
        else:
            self.tree_view.move(1)

    def action_page_up(self) -> None:
        self.tree_view.page(-1)

    def action_page_down(self) -> None:
        self.tree_view.page(1)

    def action_first(self) -> None:
        self.tree_view.go(0)

    def action_last(self) -> None:
        self.tree_view.go(len(self.model.rows) - 1)

    def action_fold(self) -> None:
        slot = self.tree_view.cursor_slot
        if slot is not None and self.model.can_open(slot):
            self.model.flip(slot)
            self.tree_view.rebuilt()
            self.post_message(self.StateChanged())

    def action_open(self) -> None:
        slot = self.tree_view.cursor_slot
        if slot is not None and self.model.can_open(slot) and not self.model.is_open(slot):
            self.action_fold()
        else:
            self.tree_view.move(1)

    def action_close(self) -> None:
        slot = self.tree_view.cursor_slot
        if slot is None:
            return
        if self.model.can_open(slot) and self.model.is_open(slot) and self.model.filtered is None:
            self.action_fold()
        elif self.model.parents[slot] > ROOT:
            self.tree_view.go_to(self.model.ids[self.model.parents[slot]])

    def on_flat_tree_clicked(self, message: FlatTree.Clicked) -> None:
        if message.fold:
            self.action_fold()

    def on_flat_tree_moved(self) -> None:
        self.post_message(self.StateChanged())

    # Marks, order

    def action_mark(self) -> None:
        slot = self.tree_view.cursor_slot
        if slot is None:
            return
        self.model.toggle_marks(self.model.below(slot))
        if self.model.kinds[slot] is not Kind.PLACE:
            self.tree_view.move(1)
        self._marks_changed()

    def action_mark_all(self) -> None:
        self.model.toggle_marks(self.model.below(ROOT))
        self._marks_changed()

    def action_unmark(self) -> None:
        self.model.marked.clear()
        self._marks_changed()

    def _marks_changed(self) -> None:
        self.tree_view.refresh()
        self._say_note()

    def action_sort(self) -> None:
        order = list(SORTS)
        self.model.set_sort(order[(order.index(self.model.sort) + 1) % len(order)])
        self._reordered()

    def action_group(self) -> None:
        self.model.set_grouping("host" if self.model.grouping == "folder" else "folder")
        self._reordered()

    def _reordered(self) -> None:
        self.tree_view.rebuilt()
        self._say_note()
        self.post_message(self.StateChanged())

    # Acts

    def _chosen(self) -> list[MachineRow]:
        """The marked VMs; without any the one under the cursor."""
        marked = self.model.marked_machines()
        slot = self.tree_view.cursor_slot
        vm = self.model.machine_of(slot) if slot is not None else None
        return marked or ([vm] if vm is not None else [])

    def action_detail(self) -> None:
        from tui.screens.vm_detail import VmDetail  # noqa: PLC0415 - a dialog is imported when it is wanted

        slot = self.tree_view.cursor_slot
        vm = self.model.machine_of(slot) if slot is not None else None
        chosen = vm or next(iter(self._chosen()), None)
        if chosen is not None:
            self.app.push_screen(VmDetail(self.model, chosen.id))

    def action_points(self) -> None:
        from tui.screens.points import PointsScreen  # noqa: PLC0415

        slot = self.tree_view.cursor_slot
        under = self.model.machine_of(slot) if slot is not None else None
        vm = under or self._chosen()[0]
        self.app.push_screen(PointsScreen((self.model.status.vcenter, vm.id), vm.name, self.app.settings))

    def action_backup(self) -> None:
        self._plan(Act.BACKUP)

    def action_mount(self) -> None:
        self._plan(Act.MOUNT)

    def _plan(self, act: Act) -> None:
        from tui.screens.plan import PlanScreen  # noqa: PLC0415

        def done(job: str | None) -> None:
            if job:
                self.model.marked.clear()
                self._marks_changed()

        self.app.push_screen(PlanScreen(act, self._chosen(), self.app.settings, self.feed), done)

    def action_reconnect(self) -> None:
        from tui.screens.password import PasswordScreen  # noqa: PLC0415

        trouble = self.model.status.trouble
        if self.model.status.state == "refused" and trouble is not None and trouble.code in ("login", "config"):
            self.app.push_screen(PasswordScreen(self.app.settings, trouble.sentence), self._with_password)
        elif self.model.status.state == "refused":
            self.connect(self.app.settings)
        else:
            self.feed.reconnect()

    def _with_password(self, password: Secret | None) -> None:
        if password is not None:
            self.app.settings = self.app.settings.having("PASSWORD", password, Origin(PROMPTED))
            self.connect(self.app.settings)
