"""What a worker's memory is and how soon it is ready: `python -m benchmarks memory`.

After some load, /proc/PID/smaps_rollup of every process: private memory is the process' own, shared memory (the
mapped snapshot, libraries) lies in the machine once however many workers there are; Pss is a process' fair part.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.catalogue import add_folder, prepare
from benchmarks.http import CONNECTIONS, known_texts, unlisted
from benchmarks.load import closed_loop
from benchmarks.process import Server, service

COLUMNS = ("Rss", "Pss", "Private", "Shared")


def main(argv: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    add_folder(parser)
    parser.add_argument("--rows", type=int, default=100_000, help="creatives (default 100000)")
    options = parser.parse_args(argv)
    config = prepare(options.folder, options.rows)
    snapshot = sum(f.stat().st_size for f in (config.data_dir / "snapshots").rglob("*") if f.is_file())
    built_s = (config.data_dir.parent / "made").read_text()
    print(
        f"{options.rows:,} creatives; snapshot built in {built_s} s, {snapshot / 2**20:.0f} MiB on disk; MiB:"
    )
    print(f"{'':22}" + "".join(f"{name:>9}" for name in COLUMNS))
    for workers in (1, 2):
        with service(replace(config, workers=workers)) as server:
            closed_loop(server.port, known_texts(), CONNECTIONS, 2.0)
            closed_loop(server.port, unlisted(), CONNECTIONS, 4.0)
            _print(server, workers)
    return 0


def _print(server: Server, workers: int) -> None:
    sizes = sorted(((pid, _memory(pid)) for pid in server.members()), key=lambda one: one[1]["Private"])
    print(f"{workers} worker{'s' * (workers > 1)}: ready {server.ready_s:.1f} s after the start")
    for place, (_, size) in enumerate(sizes):
        name = "worker" if place >= len(sizes) - workers else "beside the workers"
        print(f"  {name:20}" + "".join(f"{size[column]:9.0f}" for column in COLUMNS))


def _memory(pid: int) -> dict[str, float]:
    """Return MiB by column."""
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kib[name.rstrip(":")] = int(value)
    return {
        "Rss": kib["Rss"] / 1024,
        "Pss": kib["Pss"] / 1024,
        "Private": (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024,
        "Shared": (kib["Shared_Clean"] + kib["Shared_Dirty"]) / 1024,
    }
