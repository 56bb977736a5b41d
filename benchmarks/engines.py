"""The tables' one expression on another engine: `python -m benchmarks engines --engine pyspark://`.

A day of page views is counted by DuckDB and by the engine that an Ibis URL names, over the same Parquet file; every
count has to be equal. Nothing of the expression is told which engine it runs on. Spark wants Java, and `pip install
'.[spark]'`; a cluster is named as Ibis' documentation says, and counts a table `events` that it holds by
`tactful report run DAY --engine URL`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ibis
import pyarrow
import pyarrow.parquet

from benchmarks.release import DAY, rows
from engine.events import Row
from engine.report_keys import topics
from engine.tally import COLUMNS, EVENTS, counted_by
from privacy.workload import TABLES

BATCH = 50_000  # rows
ARROW = {"binary": pyarrow.binary(), "string": pyarrow.string(), "int64": pyarrow.int64()}


def main(argv: Sequence[str]) -> int:
    """Print how long both took; return 1 where a count differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks engines", description=__doc__)
    parser.add_argument("--engine", default="pyspark://", help="URL of an Ibis backend (default pyspark://)")
    parser.add_argument("--views", type=int, default=20_000, help="page views (default 20000)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tactful-bench-") as name:
        path = Path(name) / "events.parquet"
        _write(path, options.views)
        here = _count("duckdb://", path)
        there = _count(options.engine, path)
    apart = [table for table in here if here[table] != there[table]]
    cells = sum(map(len, here.values()))
    print(
        f"Python {platform.python_version()}, {options.views:,} page views, {len(TABLES)} tables, {cells:,} cells: "
        + (f"APART in {', '.join(apart)}" if apart else "equal")
    )
    return 1 if apart else 0


def _write(path: Path, views: int) -> None:
    schema = pyarrow.schema([pyarrow.field(name, ARROW[kind]) for name, kind in COLUMNS.items()])
    places = [Row._fields.index(name) for name in COLUMNS]
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        batch: list[Row] = []
        for row in rows(views):
            batch.append(row)
            if len(batch) == BATCH:
                file.write_table(_table(batch, places, schema))
                batch = []
        if batch:
            file.write_table(_table(batch, places, schema))


def _table(batch: Sequence[Row], places: Sequence[int], schema: Any) -> Any:
    return pyarrow.table([[row[place] for row in batch] for place in places], schema=schema)


def _count(url: str, path: Path) -> dict[str, dict[tuple[str, ...], int]]:
    started = time.perf_counter()
    engine = ibis.connect(url)
    try:
        engine.read_parquet(str(path), table_name=EVENTS)
        opened = time.perf_counter()
        counts = counted_by(engine, topics(), DAY, TABLES)
        taken = opened - started, time.perf_counter() - opened
        print(f"{url.partition(':')[0]}: opened in {taken[0]:.1f} s, counted in {taken[1]:.1f} s")
        return {name: {key: n for key, n in cells.items() if n} for name, cells in counts.items()}
    finally:
        engine.disconnect()
