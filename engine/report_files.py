"""A report as CSV and as Parquet: one line a row, what it is worth in every line or in the file's metadata."""

from __future__ import annotations

import csv
import io
from typing import Any

from engine.errors import ReportError
from engine.report import Answer
from engine.report_show import facts, names, plain, ratios
from privacy.release import day_of


def csv_of(answer: Answer) -> bytes:
    """Write a report as CSV (RFC 4180, UTF-8)."""
    told = io.StringIO()
    writer = csv.writer(told)
    writer.writerow(["from", "to", *names(answer), "micro_epsilon", "unit"])
    period = [day_of(answer.query.first).isoformat(), day_of(answer.query.last).isoformat()]
    for row in answer.rows:
        writer.writerow([*period, *plain(answer, row), answer.micro_epsilon, answer.query.report.unit])
    return told.getvalue().encode()


def parquet_of(answer: Answer) -> bytes:
    """Write a report as Parquet. Raises ReportError where PyArrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ReportError("Parquet needs PyArrow, which is not installed: pip install pyarrow") from error
    columns = names(answer)
    parts = [f"{name}{end}" for name, _ in ratios(answer.query.report) for end in ("", "_low", "_high")]
    kinds = {
        **dict.fromkeys(answer.query.by, pyarrow.string()),
        **dict.fromkeys(parts, pyarrow.float64()),
    }
    schema = pyarrow.schema(
        [(name, kinds.get(name, pyarrow.int64())) for name in columns],
        metadata={
            name: text for name, text in (*facts(answer), ("micro_epsilon", str(answer.micro_epsilon)))
        },
    )
    rows: list[list[Any]] = [plain(answer, row) for row in answer.rows]
    arrays = [pyarrow.array([row[i] for row in rows], type=field.type) for i, field in enumerate(schema)]
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)
    return file.getvalue()
