"""Whether the settings lead to a server that takes backups: `python -m engine.jobs.connection_check [--password FD]`.

A process of its own, since pyVmomi has no place in the console. It reads one line of settings
(engine.jobs.plain_settings) and writes one JSON line a step as each is known. `started` is the other end.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import engine
from engine.config.options import Settings
from engine.config.secrets import child_environment
from engine.errors import ConfigError, LoginError, TrustError, VcbError
from engine.jobs import plain_settings
from engine.process_privacy import keep_memory_private
from engine.reporter import silent
from engine.secret import redact

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Step:
    """`name` is reachable, certificate, login, version or privileges; `text` a sentence, `hint` what to do next.
    `fingerprint` is the SHA-256 of a certificate that nobody approved."""

    name: str
    state: State
    text: str
    hint: str = ""
    fingerprint: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def steps(settings: Settings) -> Iterator[Step]:
    """Tries the connection with exactly one login. Ends at the first step that fails; raises nothing."""
    from engine.flow.job import open_session  # noqa: PLC0415 - pyVmomi, in the child only
    from engine.vsphere.trust import fingerprint, peer_certificate  # noqa: PLC0415

    where = f"{settings.HOST}:{settings.PORT}"
    if not settings.HOST:
        yield Step("reachable", "failed", "HOST is not set.", "Set HOST to your vCenter.")
        return
    try:
        shown = fingerprint(peer_certificate(settings.HOST, settings.PORT, timeout=min(settings.HTTP_TIMEOUT, 20)))
    except VcbError as error:
        yield _failed("reachable", error)
        return
    yield Step("reachable", "ok", f"{where} answers.")
    try:
        session = open_session(settings, silent(), None)
    except TrustError as error:
        yield Step("certificate", "failed", error.sentence, error.hint, shown)
        return
    except VcbError as error:
        kind = "login" if isinstance(error, (LoginError, ConfigError)) else "reachable"
        yield _failed(kind, error)
        return
    with session:
        how = "is the one of THUMBPRINT" if settings.THUMBPRINT else "is signed by a CA of CA_FILE"
        yield Step("certificate", "ok", f"The certificate {how}. Its SHA-256 is {shown}.")
        yield Step("login", "ok", f"The server knows the user as {session.user_name}.")
        kind = "vCenter" if session.is_vcenter else "an ESXi host"
        yield Step("version", "ok", f"It is {kind}: {session.about.fullName}.")
        try:
            yield _privileges(session, settings)
        except VcbError as error:
            yield _failed("privileges", error)


def _privileges(session, settings: Settings) -> Step:
    from engine.vsphere.privileges import missing, wanted  # noqa: PLC0415
    from engine.vsphere.properties import Ref  # noqa: PLC0415

    root = Ref("Folder", session.content.rootFolder._GetMoId())
    needs = ("snapshot", "changed areas", "configuration files", settings.TRANSPORT_MODE)
    lacking = missing(session, wanted(needs, {"vm": [root], "datastore": [root]}))
    names = sorted({privilege for _, privilege in lacking})
    if not names:
        return Step(
            "privileges", "ok", f"At the root of the inventory nothing is missing for {settings.TRANSPORT_MODE}."
        )
    text = f"At the root of the inventory the user lacks: {', '.join(names)}."
    return Step(
        "privileges", "warning", text, "Grant them there, or on the VMs to be backed up: vcb plan tells for each."
    )


def _failed(name: str, error: VcbError) -> Step:
    return Step(name, "failed", redact(str(error)), redact(error.hint))


async def started(settings: Settings) -> AsyncIterator[Step]:
    """The steps of a child process, each as soon as it is known. Closing the iterator ends the child."""
    with plain_settings.password_pipe(settings.PASSWORD) as passed:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "engine.jobs.connection_check", *passed.words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(engine.__file__).parents[1], env=child_environment(), pass_fds=passed.descriptors,
            start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(plain_settings.to_plain(settings)).encode() + b"\n")
        process.stdin.close()
        told = False
        async for line in process.stdout:
            told = True
            yield Step(**json.loads(line))
        if await process.wait() != 0 or not told:
            yield Step("reachable", "failed", "The check ended without a result.", "Try vcb inventory: it says more.")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.jobs.connection_check")
    parser.add_argument("--password", type=int)
    arguments = parser.parse_args()
    keep_memory_private()
    plain = plain_settings.from_plain(json.loads(sys.stdin.readline()))
    for step in steps(plain_settings.with_password(plain, arguments.password)):
        sys.stdout.write(json.dumps(step.to_json()) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
