"""A block device behind an NBD server's socket, with the few methods that a reader of LUNs asks for."""

import socket
import struct
from pathlib import Path

_OPTION = b"IHAVEOPT"
_EXPORT_NAME = 1
_READ = 0


class NbdDevice:
    """The server's default export (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md)."""

    direct = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        assert self._take(16) == b"NBDMAGIC" + _OPTION
        (flags,) = struct.unpack(">H", self._take(2))
        assert flags & 3 == 3, "a server that knows neither options nor how to leave out zeros"
        self._socket.sendall(struct.pack(">I8sII", 3, _OPTION, _EXPORT_NAME, 0))
        self.size, self.flags = struct.unpack(">QH", self._take(10))
        self._handle = 0

    @property
    def read_only(self) -> bool:
        return bool(self.flags & 2)

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size, "a read outside of the device"
        self._handle += 1
        self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, _READ, self._handle, offset, length))
        magic, error, handle = struct.unpack(">IIQ", self._take(16))
        assert (magic, error, handle) == (0x67446698, 0, self._handle)
        return self._take(length)

    def read_into(self, offset: int, view: memoryview) -> None:
        view[:] = self.read(offset, len(view))

    def close(self) -> None:
        self._socket.close()

    def _take(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            assert piece, "the server hung up"
            data += piece
        return bytes(data)
