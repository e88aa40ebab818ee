"""The tree in arrays against a naive one, whatever comes, goes, moves and is renamed."""

from dataclasses import dataclass, field

from hypothesis import given, settings as hypothesis_settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.jobs.inventory_rows import (
    DiskRow,
    MachineRow,
    PlaceRow,
    PointRow,
    Points,
    Rows,
    SnapshotRow,
    Status,
    VmPoints,
)
from tui.models import fuzzy
from tui.models.inventory import InventoryModel
from tui.models.inventory_order import TAGS, tags_of
from tui.models.node_tree import ROOT

PLACES = (
    PlaceRow(id="dc-1", kind="datacenter", name="Berlin"),
    PlaceRow(id="dc-2", kind="datacenter", name="Dublin"),
    PlaceRow(id="vm-1", kind="folder", name="vm", parent="dc-1"),
    PlaceRow(id="vm-2", kind="folder", name="vm", parent="dc-2"),
    PlaceRow(id="web", kind="folder", name="Web", parent="vm-1"),
    PlaceRow(id="empty", kind="folder", name="Nobody", parent="vm-1"),
    PlaceRow(id="hosts", kind="folder", name="host", parent="dc-1"),
    PlaceRow(id="cluster", kind="cluster", name="Gold", parent="hosts"),
    PlaceRow(id="esx-1", kind="host", name="esx01", parent="cluster"),
    PlaceRow(id="group", kind="host group", name="esx02", parent="hosts"),
    PlaceRow(id="esx-2", kind="host", name="esx02", parent="group"),
)


def disk(key: int, size: int = 100, code: str = "") -> DiskRow:
    return DiskRow(key=key, name=f"scsi0:{key}", label=f"Hard disk {key + 1}", capacity=size, allocated=size, code=code)


def vm(
    number: int, name: str = "", folder: str = "vm-1", host: str = "esx-1", disks: int = 1, **facts: object
) -> MachineRow:
    row = {"power": "poweredOn", **facts}
    parts = tuple(disk(key) for key in range(disks))
    return MachineRow(id=f"m{number}", name=name or f"vm{number}", folder=folder, host=host, disks=parts, **row)  # type: ignore[arg-type]


def shown(model: InventoryModel) -> list[tuple[int, str]]:
    return [(depth, model.name(slot)) for slot, depth in zip(model.rows, model.depths, strict=True)]


def loaded(*machines: MachineRow) -> InventoryModel:
    model = InventoryModel(clock=lambda: 0.0)
    model.apply(Status(state="live", since=0, vcenter="v"))
    model.apply(Rows(rows=(*PLACES, *machines)))
    return model


def test_folders_hold_vms_and_what_says_nothing_is_left_out() -> None:
    model = loaded(vm(10), vm(2), vm(3, folder="web"))
    assert shown(model) == [(0, "Berlin"), (1, "Web"), (2, "vm3"), (1, "vm2"), (1, "vm10")]


def test_hosts_hold_vms_in_the_other_view() -> None:
    model = loaded(vm(1), vm(2, host="esx-2"))
    model.set_grouping("host")
    assert shown(model) == [(0, "Berlin"), (1, "esx02"), (2, "vm2"), (1, "Gold"), (2, "esx01"), (3, "vm1")]


def test_vms_that_come_before_their_places_find_them() -> None:
    model = InventoryModel()
    model.apply(Rows(rows=(vm(1, folder="web"),)))
    assert shown(model) == [(0, "vm1")]
    for place in reversed(PLACES):
        model.apply(Rows(rows=(place,)))
    assert shown(model) == [(0, "Berlin"), (1, "Web"), (2, "vm1")]


def test_open_nodes_and_marks_outlive_their_vm() -> None:
    model = loaded(vm(1, disks=2), vm(2))
    model.flip(model.slots["m1"])
    model.toggle_marks([vm(1)])
    model.apply(Rows(gone=("m1",)))
    assert shown(model) == [(0, "Berlin"), (1, "vm2")]
    assert model.marked_machines() == []
    model.apply(Rows(rows=(vm(1, name="back", disks=1),)))
    assert shown(model) == [(0, "Berlin"), (1, "back"), (2, "scsi0:0"), (1, "vm2")]
    assert [each.name for each in model.marked_machines()] == ["back"]


def test_a_closed_place_hides_what_it_holds_until_a_filter_finds_it() -> None:
    model = loaded(vm(1, folder="web"), vm(2))
    model.flip(model.slots["web"])
    assert shown(model) == [(0, "Berlin"), (1, "Web"), (1, "vm2")]
    model.set_filter("vm1")
    assert shown(model) == [(0, "Berlin"), (1, "Web"), (2, "vm1")]
    assert model.filtered == 1
    model.set_filter("")
    model.reveal(model.slots["m1"])
    assert (2, "vm1") in shown(model)


def test_the_filter_knows_addresses_tags_places_and_scattered_letters() -> None:
    machines = (
        vm(1, "web01", ip="10.0.0.7"),
        vm(2, "db01", folder="vm-2", power="poweredOff"),
        vm(3, "mail", snapshots=(SnapshotRow(id="s", name="x", created=0.0),)),
    )
    model = loaded(*machines)

    def found(needle: str) -> list[str]:
        model.set_filter(needle)
        return [each.name for each in model.below(ROOT)]

    assert found("w1") == ["web01"]
    assert found("0.0.7") == ["web01"]
    assert found("#snap") == ["mail"]
    assert found("#off") == ["db01"]
    assert found("dublin") == ["db01"]
    assert found("#never") == ["mail", "web01", "db01"]
    assert found("#on web") == ["web01"]
    assert found("zzz") == []
    assert set(tags_of(machines[1], model.points(machines[1].id))) <= TAGS.keys()


def test_the_filter_follows_what_changes() -> None:
    model = loaded(vm(1), vm(2))
    model.set_filter("vm2")
    model.apply(Rows(rows=(vm(22), vm(1, name="vm2-new"))))
    assert [each.name for each in model.below(ROOT)] == ["vm2", "vm2-new", "vm22"]
    model.apply(Rows(rows=(vm(2, name="other"),)))
    assert [each.name for each in model.below(ROOT)] == ["vm2-new", "vm22"]


def test_a_folder_that_is_not_shown_is_no_hit() -> None:
    model = loaded(vm(1, "web", folder="vm-2"))
    model.set_filter("vm")
    assert shown(model) == []


def test_points_are_joined_by_vcenter_and_vm() -> None:
    model = loaded(vm(1), vm(2))
    fresh = PointRow(name="b", directory="/b", created=20.0, proven=30.0)
    broken = PointRow(name="c", directory="/c", created=40.0, proven=None, flaw="damaged")
    model.apply(
        Points(
            vms=(
                VmPoints(vcenter="v", vm="m1", points=(broken, fresh)),
                VmPoints(vcenter="elsewhere", vm="m2", points=(fresh,)),
            )
        )
    )
    assert [point.name for point in model.points("m1")] == ["c", "b"]
    assert model.last_proof("m1") == 30.0
    assert model.points("m2") == ()
    model.set_sort("point")
    assert [each.name for each in model.below(ROOT)] == ["vm2", "vm1"], "never backed up comes first"


def test_sorting() -> None:
    model = loaded(vm(1, disks=1), vm(2, disks=3), vm(3, power="poweredOff", disks=2))

    def order(sort: str) -> list[str]:
        model.set_sort(sort)
        return [each.name for each in model.below(ROOT)]

    assert order("size") == ["vm2", "vm3", "vm1"]
    assert order("power") == ["vm1", "vm2", "vm3"]
    assert order("name") == ["vm1", "vm2", "vm3"]


@dataclass
class Naive:
    """The same tree, made anew each time from all that is known."""

    places: dict[str, PlaceRow] = field(default_factory=dict)
    machines: dict[str, MachineRow] = field(default_factory=dict)

    def shown(self, model: InventoryModel) -> list[tuple[int, str]]:
        fits = fuzzy.matcher(model.needle) if model.needle else None
        out: list[tuple[int, str]] = []

        def parent_of(holder: str) -> str:
            while holder in self.places:
                place = self.places[holder]
                above = self.places.get(place.parent)
                if place.kind != "host group" and not (place.kind == "folder" and above and above.kind == "datacenter"):
                    return holder
                holder = place.parent
            return ""

        def wanted(row: MachineRow, inherited: bool) -> bool:
            text = fuzzy.folded(row.name, " ".join((row.ip, row.hostname, row.id, *tags_of(row, model.points(row.id)))))
            return fits is None or inherited or bool(fits(text))

        def holder(row: MachineRow) -> str:
            return row.host if model.grouping == "host" else row.folder

        def below(place: str, depth: int, inherited: bool) -> list[tuple[int, str]]:
            lines: list[tuple[int, str]] = []
            subs = [
                each
                for each in self.places.values()
                if parent_of(each.parent) == place and parent_of(each.id) == each.id
            ]
            for each in sorted(subs, key=lambda row: (row.name.casefold(), row.id)):
                hit = inherited or (fits is not None and bool(fits(fuzzy.folded("", each.name))))
                inner = below(each.id, depth + 1, hit)
                if inner:
                    closed = each.id in model.flipped and fits is None
                    lines += [(depth, each.name), *([] if closed else inner)]
            mine = [
                each for each in self.machines.values() if parent_of(holder(each)) == place and wanted(each, inherited)
            ]
            for each in sorted(mine, key=model._key):
                lines.append((depth, each.name))
                if each.id in model.flipped:
                    lines += [(depth + 1, one.name) for one in each.disks]
            return lines

        out += below("", 0, False)
        return out


numbers = st.integers(1, 12)
holders = st.sampled_from(["vm-1", "vm-2", "web", "unknown"])
hosts = st.sampled_from(["esx-1", "esx-2", "unknown"])
names = st.sampled_from(["web", "db", "Ärger", "vm1", "vm10", "vm2", "a b"])


class Following(RuleBasedStateMachine):
    """Random lives of an inventory, compared with the naive tree after each step."""

    @initialize()
    def begin(self) -> None:
        self.model, self.naive = InventoryModel(clock=lambda: 0.0), Naive()
        self.model.apply(Status(state="live", since=0, vcenter="v"))

    @rule(places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4))
    def places_come(self, places: list[PlaceRow]) -> None:
        self.naive.places |= {place.id: place for place in places}
        self.model.apply(Rows(rows=tuple(places)))

    @rule(place=st.sampled_from(PLACES))
    def a_place_goes(self, place: PlaceRow) -> None:
        self.naive.places.pop(place.id, None)
        self.model.apply(Rows(gone=(place.id,)))

    @rule(
        rows=st.lists(
            st.builds(vm, numbers, names, holders, hosts, st.integers(0, 3)),
            min_size=1,
            max_size=12,
            unique_by=lambda row: row.id,
        )
    )
    def vms_come_or_change(self, rows: list[MachineRow]) -> None:
        self.naive.machines |= {row.id: row for row in rows}
        self.model.apply(Rows(rows=tuple(rows)))

    @rule(number=numbers)
    def a_vm_goes(self, number: int) -> None:
        self.naive.machines.pop(f"m{number}", None)
        self.model.apply(Rows(gone=(f"m{number}",)))

    @rule(node=st.sampled_from(["dc-1", "web", "esx-1", "m1", "m2", "m3"]))
    def a_node_is_flipped(self, node: str) -> None:
        if node in self.model.slots:
            self.model.flip(self.model.slots[node])

    @rule(needle=st.sampled_from(["", "", "v", "vm", "vm1", "web", "ä", "ber", "#on", "zzz"]))
    def the_filter_changes(self, needle: str) -> None:
        self.model.set_filter(needle)

    @rule(sort=st.sampled_from(["name", "size"]), grouping=st.sampled_from(["folder", "host"]))
    def the_order_changes(self, sort: str, grouping: str) -> None:
        self.model.set_sort(sort)
        self.model.set_grouping(grouping)

    @invariant()
    def both_trees_are_the_same(self) -> None:
        if hasattr(self, "model"):
            assert shown(self.model) == self.naive.shown(self.model)


TestFollowing = Following.TestCase
TestFollowing.settings = hypothesis_settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(st.text(alphabet="ab1 \t[]^-\\.É", max_size=6), st.text(alphabet="ab1[]^-\\.É", max_size=12))
def test_fuzzy_is_subsequence_or_substring(needle: str, name: str) -> None:
    text = fuzzy.folded(name, "rest b1")

    def is_subsequence(word: str) -> bool:
        letters = iter(name.casefold())
        return all(letter in letters for letter in word)

    expected = all(is_subsequence(word) or word in "rest b1" for word in needle.casefold().split())
    assert bool(fuzzy.matcher(needle)(text)) == expected
    assert all(0 <= place < len(name) for place in fuzzy.places(needle, name))
