"""SIGKILL and EIO at each write, sync, rename and removal of an append, and a disk that is full from any write on.

Nothing that was acknowledged is lost, and the log is whole afterwards; also where a year turns, and the append ends one
shard and begins another.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.log_audit import audit_log
from privacy.log_policy import LogPolicy
from tests.engine.log_world import START, LogWorld

CALLS = "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,rmdir"
WRITES = "write,pwrite64,writev,ftruncate"  # what a full disk refuses
APPENDED = 2
NEW_YEAR = datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC)
BEFORE = 254  # leaves before: the append fills a tile, so that full tiles are written and partial ones go

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="no strace: apt-get install strace")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Make a published log of 254 leaves."""
    folder = tmp_path_factory.mktemp("template")
    world = LogWorld(folder)
    world.log.step()
    world.append(BEFORE - world.leaves.count())
    world.later(60)
    world.log.step()
    world.close()
    return folder


def append(folder: Path, acknowledged: mmap.mmap, start: datetime) -> None:
    """Append leaves one by one, then publish; try again where that fails. Acknowledge what was committed."""
    try:
        world = LogWorld(folder, start=start, seed=os.getpid())
    except EngineError:
        return  # it does not start: nothing is acknowledged
    world.log.shards.at_once = world.writer.files._at_once = 1  # calls in one order
    for _ in range(APPENDED):
        try:
            (seq,) = world.append(1)
        except EngineError:
            continue
        acknowledged[seq] = 1
    world.later(3600)
    for _ in range(3):
        world.log.step()
        if world.log.fault() is None:
            break
        world.later(61)
    world.close()


def crashed(
    folder: Path, injected: str | None, among: str = CALLS, start: datetime = START
) -> tuple[list[int], list[str]]:
    """Append in a process of its own under strace; return what was acknowledged, and the calls that were made."""
    acknowledged = mmap.mmap(-1, 4096)
    trace = folder / "trace.txt"
    go, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(go, 1)
            append(folder, acknowledged, start)
        except BaseException as error:  # noqa: BLE001 - the parent reads it
            (folder / "error.txt").write_text(f"{type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)
    command = ["strace", "-f", "-o", str(trace), "-e", f"trace={CALLS}", "-p", str(child)]
    if injected is not None:
        command[1:1] = ["-e", f"inject={among}:{injected}"]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    assert "attached" in strace.stderr.readline()
    os.write(ready, b"x")
    _, status = os.waitpid(child, 0)
    strace.communicate()
    os.close(go)
    os.close(ready)
    if (folder / "error.txt").exists():
        pytest.fail((folder / "error.txt").read_text())
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    calls = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    return [seq for seq in range(len(acknowledged)) if acknowledged[seq]], calls


def look_over(folder: Path, acknowledged: list[int], start: datetime = START, shards: int = 1) -> list[str]:
    """Start again after the crash; return what is wrong."""
    world = LogWorld(folder, start=start, seed=1)
    world.later(7200)
    policy: LogPolicy = world.writer.policy
    wrong = []
    kept = {seq for seq in range(world.leaves.count()) if world.leaves.read(seq, seq + 1)}
    if missing := set(acknowledged) - kept:
        wrong.append(f"acknowledged and missing: {sorted(missing)}")
    world.log.step()
    if world.log.fault():
        wrong.append(str(world.log.fault()))
    found = audit_log(world.log.shards, policy)
    wrong += found.faults
    if found.shards != shards:
        wrong.append(f"{found.shards} shards")
    if found.published != found.leaves:
        wrong.append(f"{found.leaves - found.published} leaves are not published")
    world.close()
    return wrong


@pytest.mark.parametrize(
    ("injected", "among", "and_after", "start"),
    [
        ("signal=SIGKILL", CALLS, "", NEW_YEAR),
        ("error=EIO", CALLS, "", NEW_YEAR),
        ("error=ENOSPC", WRITES, "+", START),
    ],
)
def test_no_crash_at_any_call_loses_an_acknowledged_entry_or_breaks_the_log(
    template, tmp_path, injected, among, and_after, start
):
    shards = 1 if start == START else 2
    shutil.copytree(template, tmp_path / "plain")
    acknowledged, calls = crashed(tmp_path / "plain", None, start=start)
    assert acknowledged == [BEFORE, BEFORE + 1]
    assert look_over(tmp_path / "plain", acknowledged, start, shards) == []
    assert {"pwrite64", "write", "fsync", "rename", "unlink"} <= set(calls), calls
    wrong = {}
    calls = [call for call in calls if call in among.split(",")]
    for number in range(1, len(calls) + 1):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        acknowledged, _ = crashed(folder, f"{injected}:when={number}{and_after}", among, start)
        if found := look_over(folder, acknowledged, start, shards):
            wrong[number, calls[number - 1]] = found
        shutil.rmtree(folder)
    assert wrong == {}
