"""The true counts of a day, by one Ibis expression for every engine: DuckDB over rows of the store, or another by URL.

A page view is held to what the workload allows it before anything is counted: slots beyond the first few and further
clicks do not reach a table. What machines asked for is left out, by what their own requests show: a flag that depends
on other page views would let one of them change the counts of many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import ReportError
from engine.events import CONVERSION, MACHINE, VOTES
from privacy.release import Key
from privacy.workload import MOST_PRICE, MOST_WEIGHT, NEARNESS, SLOTS, WHOLE, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir

Counts = dict[str, dict[Key, int]]  # table → key → count
Topics = Mapping[str, tuple[str, str]]  # topic → as what it is told alone, and beside another dimension
# What is read of an event, with its type in every engine. Dimensions of tables are columns of their names.
COLUMNS = {
    "view": "binary",
    "slot": "int64",
    "kind": "string",
    "day": "int64",
    "publisher": "string",
    "section": "string",
    "topic": "string",
    "campaign": "string",
    "creative": "string",
    "device": "string",
    "part": "string",
    "weather": "string",
    "ivt": "int64",
    "price_micros": "int64",
    "message": "string",
    "weight_milli": "int64",
    "nearness": "int64",
    "rung": "string",
}
# What decisions of a day were asked for, added up by section, and how much of it was filled: of each at most SLOTS.
DECIDED_COLUMNS = {
    "day": "int64",
    "publisher": "string",
    "section": "string",
    "asked": "int64",
    "filled": "int64",
}
EVENTS, DECIDED = "events", "decided"  # the tables, wherever they are
MEMORY = "1GB"  # that DuckDB may take; beyond, it writes to its temporary folder
THREADS = 2
_MOST_DIMS = 4
_EACH = {"money": "billed", "placement": "placements", "nearness": "near"}  # columns that are added up


class Tally(Protocol):
    """Counts a day's events on some engine."""

    def __call__(self, day: int, tables: Sequence[Table]) -> Counts:
        """Return the true counts of the cells that are not empty. Never to be told: noise comes next."""


def cells(
    events: ir.Table, decided: ir.Table, topics: ir.Table, day: int, tables: Sequence[Table]
) -> ir.Table:
    """Give the expression: rows of (table, k0, k1, k2, k3, n), those keys that a table has not as ''.

    `topics` says of each topic (column `id`) as what it is told where it stands alone (`alone`) and beside another
    dimension (`beside`).
    """
    import ibis

    counted = events.filter((events["day"] == day) & (events["ivt"] != MACHINE) & (events["slot"] >= 0))
    counted = counted.left_join(topics, counted["topic"] == topics["id"])
    within = ibis.window(group_by=[counted["view"], counted["kind"]], order_by=[counted["slot"]])
    counted = counted.mutate(nth=ibis.row_number().over(within))
    impressions = counted.filter((counted["kind"] == "impression") & (counted["slot"] < SLOTS))
    rows = {
        "impression": impressions,
        "nearness": impressions.mutate(
            near=ibis.least(
                ibis.greatest(impressions["nearness"], ibis.literal(-NEARNESS)), ibis.literal(NEARNESS)
            )
        ),
        "placement": _placements(impressions, decided.filter(decided["day"] == day)),
        "click": counted.filter((counted["kind"] == "click") & (counted["nth"] == 0)),
        "view": counted.filter((counted["kind"] == "impression") & (counted["nth"] == 0)),
        "money": _billed(counted),
        "vote": _votes(counted),
        "conversion": counted.filter(counted["kind"] == CONVERSION),
    }
    return ibis.union(*(_one(table, rows[table.kind]) for table in tables), distinct=False)


def _placements(impressions: ir.Table, decided: ir.Table) -> ir.Table:
    """Give a row for each impression, and one for what each section was asked and had nothing for."""
    import ibis

    one = ibis.literal(1).cast("int64")
    empty = (decided["asked"] - decided["filled"]).cast("int64")
    parts = (
        rows.select(
            *(rows[name].cast("string").name(name) for name in ("publisher", "section")),
            outcome=ibis.literal(outcome),
            placements=placements,
        )
        for rows, outcome, placements in ((impressions, "shown", one), (decided, "unfilled", empty))
    )
    told = ibis.union(*parts, distinct=False)
    return told.filter(told["placements"] > 0)


def _votes(counted: ir.Table) -> ir.Table:
    """Give one vote of each view, whatever was pressed."""
    import ibis

    votes = counted.filter(counted["kind"].isin(VOTES)).mutate(vote=ibis._.kind)
    within = ibis.window(group_by=votes["view"], order_by=[votes["kind"], votes["slot"]])
    votes = votes.mutate(vote_nth=ibis.row_number().over(within))
    return votes.filter(votes["vote_nth"] == 0)


def _billed(counted: ir.Table) -> ir.Table:
    """Give a row for each page view, with what of its bill is counted. All its events are of one section."""
    import ibis

    whole = counted.group_by(["view", "publisher", "section"]).agg(billed=counted["price_micros"].sum())
    most = ibis.least(ibis.greatest(whole["billed"], ibis.literal(0)), ibis.literal(MOST_PRICE))
    return whole.mutate(billed=most)


def _one(table: Table, rows: ir.Table) -> ir.Table:
    import ibis

    topic = "alone" if len(table.dims) == 1 else "beside"
    if "component" in table.dims:
        rows = _components(rows)
    if "sum" in table.dims:
        rows = _sums(rows)
    if "rung" in table.dims:
        rows = rows.filter(rows["rung"].fill_null("") != "")  # others were put on none
    columns = [rows[topic if dim == "topic" else dim].fill_null("") for dim in table.dims]
    columns += [ibis.literal("")] * (_MOST_DIMS - len(columns))
    keys = {f"k{number}": column for number, column in enumerate(columns)}
    each = ibis.literal(1)
    if "sum" in table.dims:
        each = rows["weight"]
    elif table.kind in _EACH:
        each = rows[_EACH[table.kind]]
    told = rows.select(table=ibis.literal(table.name), **keys, each=each.cast("int64"))
    grouped = told.group_by(["table", *keys])
    return grouped.agg(n=told["each"].sum().cast("int64"))


def _components(rows: ir.Table) -> ir.Table:
    """Give a row for each event's creative, "", and one for each part of its message."""
    import ibis

    message = rows["message"].fill_null("")
    # Engines split an empty text into one piece or none; "." is a piece of every text, and the id of no part.
    listed = ibis.ifelse(message == "", ".", ibis.literal(". ").concat(message))
    pieces = rows.mutate(component=listed.split(" ")).unnest("component")
    return pieces.mutate(component=ibis.ifelse(pieces["component"] == ".", "", pieces["component"]))


def _sums(rows: ir.Table) -> ir.Table:
    """Give two rows for each event while there was a challenger: as it was shown, and as that would have it."""
    import ibis

    tried = rows.filter(rows["weight_milli"] > 0)
    most = ibis.least(tried["weight_milli"], ibis.literal(MOST_WEIGHT))
    shown = tried.select(sum=ibis.literal("shown"), weight=ibis.literal(WHOLE).cast("int64"))
    return ibis.union(
        shown, tried.select(sum=ibis.literal("weighted"), weight=most.cast("int64")), distinct=False
    )


class Rows(Protocol):
    """The events of the embedded store."""

    def batches(self, day: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield a day's rows, in the order of COLUMNS, as one consistent state."""

    def decided(self, day: int) -> list[tuple[Any, ...]]:
        """Return what a day's decisions were asked, in the order of DECIDED_COLUMNS."""


class DuckTally:
    """Satisfies Tally: rows of the embedded store, counted by DuckDB in memory."""

    def __init__(self, rows: Rows, topics: Topics) -> None:
        self._rows, self._topics = rows, topics

    def __call__(self, day: int, tables: Sequence[Table]) -> Counts:
        """Return the counts."""
        ibis, pyarrow = _libraries()
        engine = ibis.duckdb.connect(":memory:", memory_limit=MEMORY, threads=THREADS)
        try:
            engine.raw_sql("ATTACH ':memory:' AS day (COMPRESS)")
            engine.raw_sql("USE day")
            for name, columns, batches in (
                (EVENTS, COLUMNS, self._rows.batches(day)),
                (DECIDED, DECIDED_COLUMNS, iter([self._rows.decided(day)])),
            ):
                types = [pyarrow.field(n, getattr(pyarrow, _ARROW[kind])()) for n, kind in columns.items()]
                engine.create_table(name, schema=ibis.schema(columns))
                _fill(engine, name, pyarrow.schema(types), filter(None, batches))
            return counted_by(engine, self._topics, day, tables)
        finally:
            engine.disconnect()


def _fill(engine: Any, name: str, schema: Any, batches: Iterable[list[tuple[Any, ...]]]) -> None:
    """Insert rows into a table; while some are inserted, the next are read."""
    _, pyarrow = _libraries()
    with ThreadPoolExecutor(1) as inserter:
        inserted: Future[None] | None = None
        for rows in batches:
            columns = [list(column) for column in zip(*rows, strict=True)]
            batch = pyarrow.table(columns, schema=schema)
            if inserted is not None:
                inserted.result()
            inserted = inserter.submit(_insert, engine, name, batch)
        if inserted is not None:
            inserted.result()


def _insert(engine: Any, name: str, batch: Any) -> None:
    engine.con.register("batch", batch)
    engine.raw_sql(f"INSERT INTO {name} SELECT * FROM batch")  # noqa: S608 - a constant
    engine.con.unregister("batch")


class EngineTally:
    """Satisfies Tally: events where they already are, on any engine that Ibis reaches by a URL."""

    def __init__(self, url: str, topics: Topics) -> None:
        self._url, self._topics = url, topics

    def __call__(self, day: int, tables: Sequence[Table]) -> Counts:
        """Return the counts. Raises ReportError where the engine cannot be reached or has no such table."""
        ibis, _ = _libraries()
        try:
            engine = ibis.connect(self._url)
        except Exception as error:  # each engine has errors of its own
            raise ReportError(f"the engine cannot be reached: {type(error).__name__}") from error
        try:
            return counted_by(engine, self._topics, day, tables)
        finally:
            engine.disconnect()


def counted_by(engine: Any, topics: Topics, day: int, tables: Sequence[Table]) -> Counts:
    """Return the counts that an Ibis backend gives, which has both tables. Raises ReportError."""
    found: Counts = {table.name: {} for table in tables}
    dims = {table.name: len(table.dims) for table in tables}
    ibis, pyarrow = _libraries()
    names = ("id", "alone", "beside")
    columns = zip(*((topic, *told) for topic, told in topics.items()), strict=True)
    told = ibis.memtable(pyarrow.table(dict(zip(names, map(list, columns), strict=True))))
    try:
        result = engine.to_pyarrow(cells(engine.table(EVENTS), engine.table(DECIDED), told, day, tables))
    except Exception as error:
        raise ReportError(f"the engine does not count: {type(error).__name__}") from error
    for rows in result.to_batches(max_chunksize=100_000):
        for name, *keys, count in zip(*(rows.column(name).to_pylist() for name in _TOLD), strict=True):
            found[name][tuple(keys[: dims[name]])] = int(count)
    return found


_TOLD = ("table", *(f"k{i}" for i in range(_MOST_DIMS)), "n")


_ARROW = {"binary": "binary", "string": "string", "int64": "int64"}


def _libraries() -> tuple[Any, Any]:
    try:
        import ibis
        import pyarrow
    except ImportError as error:
        raise ReportError(
            "counting needs Ibis and DuckDB, which are not installed: pip install 'ibis-framework[duckdb]'"
        ) from error
    return ibis, pyarrow
