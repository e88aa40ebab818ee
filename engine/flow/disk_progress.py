"""One disk's export as events and as a row of the outcome."""

from collections.abc import Callable

from engine.events import DiskEnded, DiskProgress, DiskStarted
from engine.flow.incremental import DiskMethod
from engine.flow.outcome import DiskOutcome
from engine.image.written import Progress, WrittenImage
from engine.points.manifest import FileEntry
from engine.reporter import Reporter
from engine.vsphere.disks import Disk


def watch(disk: Disk, transport: str, to_read: int, report: Reporter) -> Callable[[Progress], None]:
    """Announces the disk; the returned function passes the pipeline's progress on. `to_read` is bytes, 0 where nobody
    knows it (a stream)."""
    report.emit(DiskStarted(transport=transport, capacity=disk.capacity, to_read=to_read))

    def passed_on(state: Progress) -> None:
        report.emit(
            DiskProgress(
                read=state.read,
                to_read=to_read,
                stored=state.stored,
                bottleneck=state.bottleneck,
                busy={part: round(share, 3) for part, share in state.busy.items()},
            )
        )

    return passed_on


def conclude(  # noqa: PLR0917
    disk: Disk,
    transport: str,
    image: WrittenImage,
    method: DiskMethod,
    grains: FileEntry | None,
    report: Reporter,
) -> DiskOutcome:
    """`disk` as the snapshot froze it."""
    levels = {level: round(share, 3) for level, share in image.levels.items()}
    report.emit(
        DiskEnded(
            read=image.read, stored=image.stored, seconds=image.seconds, bottleneck=image.bottleneck, levels=levels
        )
    )
    return DiskOutcome(
        disk=disk,
        transport=transport,
        read=image.read,
        stored=image.stored,
        seconds=image.seconds,
        cid=image.cid,
        files=image.files,
        bottleneck=image.bottleneck,
        levels=levels,
        method=method,
        grains=grains,
    )
