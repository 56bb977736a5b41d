"""What a night's release takes, and what it is good for: `python -m benchmarks release`.

A store with so many page views of one day, each with three impressions, is released in a process of its own: every
table, 10,000 keys or more in each that is not bounded by a vocabulary. Then it is counted how many of the printed
margins hold the truth, and drawn how far noisy numbers are off, by volume and epsilon.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from contexts.context import PARTS_OF_DAY
from contexts.taxonomy import content_taxonomy
from engine.campaign import Advertiser, Campaign, Publisher, Section
from engine.change import Change, Entity
from engine.config import Config
from engine.creative import Creative
from engine.events import Row
from engine.releases import start_of
from engine.report_keys import topics
from engine.reporting import Reporting
from engine.store import SqliteStore
from privacy.noise import MICRO, laplace
from privacy.release import Release, day_number, query_of
from privacy.visit import CONDITIONS, DEVICE_CLASSES
from privacy.workload import SLOTS, TABLES, table

DAY = day_number(datetime(2026, 11, 26, tzinfo=UTC).date())
PUBLISHERS, SECTIONS, CAMPAIGNS, CREATIVES = 64, 160, 300, 10_000
MOST_S, MOST_MIB, LEAST_COVERED = 60.0, 2048, 0.94
EPSILONS = (0.25, 0.5, 1.0, 2.0)  # a page view, in all
VOLUMES = (100, 1000, 10_000, 100_000)  # impressions of a cell on a day
CTR = 0.005


def main(argv: Sequence[str]) -> int:
    """Print the figures; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks release", description=__doc__)
    parser.add_argument("--views", type=int, default=1_000_000, help="page views (default 1000000)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child is not None:
        return _release(options.child)
    with tempfile.TemporaryDirectory(prefix="tactful-bench-") as name:
        folder = Path(name)
        _fill(folder, options.views)
        command = [sys.executable, "-m", "benchmarks", "release", "--child", str(folder)]
        done = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        good = done["seconds"] <= MOST_S and done["mib"] <= MOST_MIB
        print(
            f"{options.views:,} page views, {len(done['cells'])} tables, {sum(done['cells'].values()):,} cells: "
            f"{done['seconds']:.1f} s ({done['cpu']:.1f} s of CPU, {os.cpu_count()} cores), {done['mib']} MiB "
            f"(bounds {MOST_S:.0f} s, {MOST_MIB} MiB)"
        )
        for table_name, cells in done["cells"].items():
            print(f"  {table_name:32}{cells:>9,} cells")
        covered = _coverage(folder)
    for table_name, share, cells in covered:
        print(f"margins that hold the truth, {table_name}: {100 * share:.2f} % of {cells:,}")
        good = good and share >= LEAST_COVERED
    _utility()
    return 0 if good else 1


def _fill(folder: Path, views: int) -> None:
    store = SqliteStore(folder / "tactful.db")
    (folder / "keys").mkdir()
    sections = tuple(Section(id=f"s{i}", prefix=f"/s{i}") for i in range(SECTIONS - 1))
    things: list[Entity] = [
        Publisher(id=f"p{i}", name="P", domains=(f"p{i}.example",), sections=sections)
        for i in range(PUBLISHERS)
    ]
    things.append(Advertiser(id="a", name="A", domains=("a.example",)))
    things += [Campaign(id=f"k{i}", advertiser="a", name="K", cpm_micros=1_000_000) for i in range(CAMPAIGNS)]
    for i in range(CREATIVES):
        campaign = f"k{i % CAMPAIGNS}"
        things.append(
            Creative(
                id=f"c{i}", campaign=campaign, format="native", headline="C", landing_url="https://a.example/"
            )
        )
    changes = [Change(None, thing) for thing in things]
    store.write(changes, [], store.versions(), "bench", start_of(DAY))
    with store.writing() as db:
        columns, places = ", ".join(Row._fields), ", ".join("?" * len(Row._fields))
        db.executemany(f"INSERT INTO events ({columns}) VALUES ({places})", rows(views))
    store.close()


def rows(views: int) -> Iterator[Row]:
    """Draw page views of one day, three impressions each."""
    draw = random.Random(1)
    ids = [node.id for node in content_taxonomy()]
    for _ in range(views):
        view, publisher, section = (
            draw.randbytes(16),
            f"p{draw.randrange(PUBLISHERS)}",
            draw.randrange(SECTIONS),
        )
        page = (publisher, f"s{section}" if section < SECTIONS - 1 else "other", draw.choice(ids))
        moment = (draw.choice(DEVICE_CLASSES), draw.choice(PARTS_OF_DAY), draw.choice((*CONDITIONS, "")))
        for slot in range(SLOTS):
            shown = int(CREATIVES * draw.random() ** 2)
            of = (DAY, *page, f"k{shown % CAMPAIGNS}", f"c{shown}", *moment, 0)
            yield Row(view, slot, "impression", *of, 1000)
            if slot == 0 and draw.random() < 3 * CTR:
                yield Row(view, slot, "click", *of, 0)


def _open(folder: Path) -> tuple[SqliteStore, Reporting]:
    store = SqliteStore(folder / "tactful.db")
    config = Config(data_dir=folder, key_dir=folder / "keys")
    now = start_of(DAY + 1) + timedelta(hours=3)
    return store, Reporting(config, store, store.leaves(), lambda: now)


def _release(folder: Path) -> int:
    store, reporting = _open(folder)
    started, cpu = time.perf_counter(), time.process_time()
    done = reporting.releases.release(DAY)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    cells = {}
    for name, first in done.released:
        body = reporting.budget.kept(query_of(table(name), first))
        cells[name] = len(Release.read(body or b"").counts)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    store.close()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mib": mib, "cells": cells}))
    return 0 if not done.failed and not done.refused else 1


def _coverage(folder: Path) -> list[tuple[str, float, int]]:
    """Compare each table's margins with the counts before noise."""
    store, reporting = _open(folder)
    daily = [one for one in TABLES if one.days == 1]
    true = dict(store.reports().tally(topics())(DAY, daily))
    found = []
    for one in daily:
        release = Release.read(reporting.budget.kept(query_of(one, DAY)) or b"")
        within = sum(abs(n - true[one.name].get(key, 0)) <= release.margin95 for key, n in release.cells())
        if len(release.counts) >= 5000:
            found.append((one.name, within / len(release.counts), len(release.counts)))
    store.close()
    return found


def _utility() -> None:
    """Print the median relative error of a cell's impressions, clicks and four weeks of both, by drawing."""
    print(f"median relative error of a campaign's creative, CTR {100 * CTR:g} %:")
    print(
        f"{'epsilon a view':>15}{'impressions a day':>19}{'day':>9}{'28 days':>9}{'clicks, day':>13}{'28 days':>9}"
    )
    for epsilon in EPSILONS:
        for volume in VOLUMES:
            cells = [f"{epsilon:15g}{volume:19,}"]
            for day, long, count in (
                ("creatives", "creatives-28", volume),
                ("clicks", "clicks-28", volume * CTR),
            ):
                for name, times in ((day, 1), (long, 28)):
                    wanted = replace(table(name), micro_epsilon=round(table(name).micro_epsilon * epsilon))
                    off = laplace(wanted.l1, wanted.micro_epsilon).add_each([0] * 4001)
                    cells.append(f"{100 * median(map(abs, off)) / (count * times):8.2f} %")
            print(" ".join(cells))
    print(f"at epsilon 1 the ledger's cap is used up: {sum(t.micro_epsilon for t in TABLES) / MICRO:g}")
