"""The tables' one expression on another engine: `python -m benchmarks engines --engine pyspark://`.

A day of page views is counted by DuckDB and by the engine that an Ibis URL names, over the same Parquet files; every
count has to be equal. Nothing of the expression is told which engine it runs on. Spark wants Java, and `pip install
'.[spark]'`; a cluster is named as Ibis' documentation says, and counts the tables `events` and
`decided` that it holds by `tactful report release --engine URL`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ibis
import pyarrow
import pyarrow.parquet

from benchmarks.release import DAY, PUBLISHERS, SECTIONS, rows
from engine.events import Row
from engine.report_keys import topics
from engine.tally import COLUMNS, DECIDED, DECIDED_COLUMNS, EVENTS, counted_by
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
        folder = Path(name)
        _write(folder / EVENTS, options.views)
        _write_decided(folder / DECIDED)
        here = _count("duckdb://", folder)
        there = _count(options.engine, folder)
    apart = [table for table in here if here[table] != there[table]]
    cells = sum(map(len, here.values()))
    print(
        f"Python {platform.python_version()}, {options.views:,} page views, {len(TABLES)} tables, {cells:,} cells: "
        + (f"APART in {', '.join(apart)}" if apart else "equal")
    )
    return 1 if apart else 0


def _schema(columns: Mapping[str, str]) -> Any:
    return pyarrow.schema([pyarrow.field(name, ARROW[kind]) for name, kind in columns.items()])


def _write_decided(path: Path) -> None:
    """Write what decisions were asked: of each section another number stayed empty."""
    told = [
        (DAY, f"p{publisher}", f"s{section}", 100, 100 - (publisher + section) % 40)
        for publisher in range(PUBLISHERS)
        for section in range(SECTIONS - 1)
    ]
    columns = [list(column) for column in zip(*told, strict=True)]
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=_schema(DECIDED_COLUMNS)), path)


def _write(path: Path, views: int) -> None:
    schema = _schema(COLUMNS)
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


def _count(url: str, folder: Path) -> dict[str, dict[tuple[str, ...], int]]:
    started = time.perf_counter()
    engine = ibis.connect(url)
    try:
        for name in (EVENTS, DECIDED):
            engine.read_parquet(str(folder / name), table_name=name)
        opened = time.perf_counter()
        counts = dict(counted_by(engine, topics(), DAY, TABLES))
        taken = opened - started, time.perf_counter() - opened
        print(f"{url.partition(':')[0]}: opened in {taken[0]:.1f} s, counted in {taken[1]:.1f} s")
        return {name: {key: n for key, n in cells.items() if n} for name, cells in counts.items()}
    finally:
        engine.disconnect()
