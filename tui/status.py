"""What the header shows: which vCenter, as whom, how trusted, how disks are read, how many jobs run."""

from enum import StrEnum

import msgspec

from engine.config.options import Settings


class Link(StrEnum):
    """How the inventory worker stands with vCenter."""

    NONE = "no HOST"
    CONNECTING = "connecting"
    UP = "connected"
    DOWN = "not connected"


class Status(msgspec.Struct, frozen=True):
    """Fields that the settings tell are set at start and after a save; `link`, `certificate` and `running` come from
    the feeds through `VcbApp.tell`."""

    host: str = ""
    user: str = ""
    transport: str = ""
    certificate: str = ""
    """In two or three words: "pinned", "CA file", "not approved"."""
    certificate_bad: bool = False
    link: Link = Link.NONE
    running: int = 0
    """Jobs."""
    leftovers: int = 0
    """Dead jobs that left something open."""

    @classmethod
    def of(cls, settings: Settings) -> "Status":
        return cls(
            host=settings.HOST,
            user=settings.USERNAME,
            transport=settings.TRANSPORT_MODE,
            certificate="pinned" if settings.THUMBPRINT else "own CA" if settings.CA_FILE else "system CA",
        )
