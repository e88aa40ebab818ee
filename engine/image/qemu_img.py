"""qemu-img where its formats are wanted: converting to qcow2, and comparing what came out with what went in."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from engine.cancel import CancelToken
from engine.config.secrets import child_environment
from engine.errors import ImageError, TargetError, TargetFull, VerifyError

_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


def find_qemu_img() -> str:
    """Its path. Raises `TargetError` where it is not installed."""
    path = shutil.which("qemu-img")
    if path is None:
        raise TargetError(
            "qcow2 is written by qemu-img, which is not installed.",
            hint="Install it (Debian: apt install qemu-utils), or restore as raw or vmdk.",
        )
    return path


def convert(source: Path, target: Path, *, to: str, cancel: CancelToken, progress: Callable[[float], None]) -> None:
    """Writes the new file `target` from a VMDK or a chain of them; `progress` gets the share done, 0 to 1.

    Raises `TargetFull`, `TargetError`, `ImageError` with what qemu-img says, `Cancelled`; the process has ended then,
    and what it wrote is the caller's to remove.
    """
    said, code = _run(["convert", "-p", "-f", "vmdk", "-O", to, "-T", "none", source, target], cancel, progress)
    if code == 0:
        return
    if "No space left" in said:
        raise TargetFull(f"No space is left for {target}.", fault="ENOSPC", hint="Free space there.")
    kind = TargetError if str(target) in said and str(source) not in said else ImageError
    raise kind(f"qemu-img could not make {target.name}: {said}", fault=f"exit code {code}")


def compare(source: Path, target: Path, *, kind: str, cancel: CancelToken, progress: Callable[[float], None]) -> None:
    """Raises `VerifyError` unless `target` (of format `kind`) is sound and holds what the VMDK `source` holds."""
    said, code = _run(["check", "-q", "-f", kind, target], cancel, lambda share: None)
    if code == 0:
        said, code = _run(["compare", "-p", "-f", "vmdk", "-F", kind, source, target], cancel, progress)
    if code:
        raise VerifyError(f"{target.name} is not what the point holds: {said}", fault=f"exit code {code}")


def _run(arguments: list[str | Path], cancel: CancelToken, progress: Callable[[float], None]) -> tuple[str, int]:
    """(what it said of errors, its exit code). A cancel ends it and raises `Cancelled`."""
    command = [find_qemu_img(), *map(str, arguments)]
    with subprocess.Popen(  # noqa: S603 - a program of the machine, on files of ours
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        words = b""
        try:
            with cancel.on_cancel(process.kill):
                while data := os.read(process.stdout.fileno(), 4096):
                    words = (words + data)[-4096:]
                    for match in _PERCENT.finditer(data):
                        progress(float(match[1]) / 100)
                process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()
    cancel.check()
    said = b" ".join(errors).decode(errors="replace").strip() or _PERCENT.sub(b"", words).decode(errors="replace")
    return " ".join(said.split()), process.returncode
