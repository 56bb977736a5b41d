"""The true counts of a day, by one Ibis expression for every engine: DuckDB over rows of the store, or another by URL.

A page view is held to what the workload allows it before anything is counted: slots beyond the first few and further
clicks do not reach a table. What machines asked for is left out, by what their own requests show: a flag that depends
on other page views would let one of them change the counts of many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import ReportError
from engine.events import CONVERSION, MACHINE, VOTES
from privacy.release import Key
from privacy.workload import MOST_PRICE, MOST_WEIGHT, NEARNESS, SLOTS, WHOLE, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir

Cells = dict[Key, int]  # key → count
Counts = dict[str, Cells]  # table → its cells
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
BETWEEN = "\x1f"  # the columns of a row that is read as text; ids hold neither it nor line feeds
MEMORY = "1GB"  # that DuckDB may take; beyond, it writes to its temporary folder
THREADS = 2
_EACH = {"money": "billed", "placement": "placements", "nearness": "near"}  # columns that are added up


class Tally(Protocol):
    """Counts a day's events on some engine."""

    def __call__(self, day: int, tables: Sequence[Table]) -> Iterator[tuple[str, Cells]]:
        """Yield each table's name, in this order, with the true counts of its cells that are not empty.

        Never to be told: noise comes next. Each is counted when it is asked for, so that noise may be drawn meanwhile.
        """


def cells(events: ir.Table, decided: ir.Table, topics: ir.Table, day: int, table: Table) -> ir.Table:
    """Give the expression: rows of a table's dimensions, as k0, k1, and so on, and their count n.

    `topics` says of each topic (column `id`) as what it is told where it stands alone (`alone`) and beside another
    dimension (`beside`). A table at a time: engines that are asked for all of them at once keep what they have in
    common in a copy, which takes them longer than to read it again.
    """
    import ibis

    counted = events.filter((events["day"] == day) & (events["ivt"] != MACHINE) & (events["slot"] >= 0))
    counted = counted.left_join(topics, counted["topic"] == topics["id"])
    impressions = counted.filter(counted["kind"] == "impression")
    placed = impressions.filter(impressions["slot"] < SLOTS)
    rows = {
        "impression": lambda: placed,
        "nearness": lambda: placed.mutate(
            near=ibis.least(
                ibis.greatest(placed["nearness"], ibis.literal(-NEARNESS)), ibis.literal(NEARNESS)
            )
        ),
        "placement": lambda: _placements(placed, decided.filter(decided["day"] == day)),
        "click": lambda: _first(counted.filter(counted["kind"] == "click"), table),
        "view": lambda: _first(impressions, table),
        "money": lambda: _billed(counted),
        "vote": lambda: _votes(counted),
        "conversion": lambda: counted.filter(counted["kind"] == CONVERSION),
    }
    return _one(table, rows[table.kind]())


def _first(rows: ir.Table, table: Table) -> ir.Table:
    """Give one row for each page view: of its events of one kind the one in the first slot."""
    columns = {"alone", "beside", "message", "weight_milli", *table.dims} & set(rows.columns)
    return rows.group_by("view").agg(**{name: rows[name].argmin(rows["slot"]) for name in sorted(columns)})


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
    keys = {
        f"k{number}": rows[topic if dim == "topic" else dim].fill_null("")
        for number, dim in enumerate(table.dims)
    }
    each = ibis.literal(1)
    if "sum" in table.dims:
        each = rows["weight"]
    elif table.kind in _EACH:
        each = rows[_EACH[table.kind]]
    told = rows.select(**keys, each=each.cast("int64"))
    return told.group_by(list(keys)).agg(n=told["each"].sum().cast("int64"))


def _components(rows: ir.Table) -> ir.Table:
    """Give a row for each event's creative, "", and one for each part of its message."""
    import ibis

    message = rows["message"].fill_null("")
    # Engines split an empty text into one piece or none; "." is a piece of every text, and the id of no part.
    listed = ibis.ifelse(message == "", ".", ibis.literal(". ").concat(message))
    pieces = rows.mutate(component=listed.split(" ")).unnest("component")
    return pieces.mutate(component=ibis.ifelse(pieces["component"] == ".", "", pieces["component"]))


def _sums(rows: ir.Table) -> ir.Table:
    """Give two rows for each event while there was a challenger: as it was shown, and what that would gain."""
    import ibis

    tried = rows.filter(rows["weight_milli"] > 0)
    most = ibis.least(tried["weight_milli"], ibis.literal(MOST_WEIGHT))
    shown = tried.select(sum=ibis.literal("shown"), weight=ibis.literal(WHOLE).cast("int64"))
    gain = (most - ibis.literal(WHOLE)).cast("int64")
    return ibis.union(shown, tried.select(sum=ibis.literal("gain"), weight=gain), distinct=False)


class Rows(Protocol):
    """The events of the embedded store."""

    def lines(self, day: int) -> Iterator[bytes]:
        """Yield a day's rows in blocks of lines, as one consistent state.

        A line has the values in the order of COLUMNS, without the day, with BETWEEN between them; a view in hex.
        """

    def decided(self, day: int) -> list[tuple[Any, ...]]:
        """Return what a day's decisions were asked, in the order of DECIDED_COLUMNS."""


class DuckTally:
    """Satisfies Tally: rows of the embedded store, counted by DuckDB in memory."""

    def __init__(self, rows: Rows, topics: Topics) -> None:
        self._rows, self._topics = rows, topics

    def __call__(self, day: int, tables: Sequence[Table]) -> Iterator[tuple[str, Cells]]:
        """Yield the counts. Raises ReportError where a row cannot be read."""
        ibis, pyarrow = _libraries()
        engine = ibis.duckdb.connect(":memory:", memory_limit=MEMORY, threads=THREADS)
        try:
            engine.raw_sql("ATTACH ':memory:' AS day (COMPRESS)")
            engine.raw_sql("USE day")
            for name, columns in ((EVENTS, _LOADED), (DECIDED, DECIDED_COLUMNS)):
                engine.create_table(name, schema=ibis.schema(columns))
            _load(engine, day, self._rows.lines(day))
            if decided := self._rows.decided(day):
                told = (list(column) for column in zip(*decided, strict=True))
                _insert(engine, DECIDED, pyarrow.table(dict(zip(DECIDED_COLUMNS, told, strict=True))))
            yield from counted_by(engine, self._topics, day, tables)
        finally:
            engine.disconnect()


# Of the embedded store's values no Python objects are made: some fifty million would take most of the time.
_LOADED = {
    "day": "int64",
    **{n: "string" if n == "view" else kind for n, kind in COLUMNS.items() if n != "day"},
}


def _load(engine: Any, day: int, blocks: Iterator[bytes]) -> None:
    """Insert lines of a day; while some are inserted, the next are read."""
    with ThreadPoolExecutor(1) as inserter:
        inserted: Future[None] | None = None
        for block in blocks:
            if inserted is not None:
                inserted.result()
            inserted = inserter.submit(_insert_lines, engine, day, block)
        if inserted is not None:
            inserted.result()


def _insert_lines(engine: Any, day: int, block: bytes) -> None:
    import pyarrow.csv

    names = [name for name in _LOADED if name != "day"]
    types = {name: getattr(pyarrow, _LOADED[name])() for name in names}
    try:
        rows = pyarrow.csv.read_csv(
            pyarrow.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
            pyarrow.csv.ParseOptions(delimiter=BETWEEN, quote_char=False),
            pyarrow.csv.ConvertOptions(column_types=types),
        )
    except pyarrow.ArrowInvalid as error:
        raise ReportError("a kept event cannot be read: check the database") from error
    days = pyarrow.repeat(pyarrow.scalar(day, pyarrow.int64()), len(rows))
    _insert(engine, EVENTS, rows.add_column(0, "day", days))


def _insert(engine: Any, name: str, batch: Any) -> None:
    engine.con.register("batch", batch)
    engine.raw_sql(f"INSERT INTO {name} BY NAME SELECT * FROM batch")  # noqa: S608 - a constant
    engine.con.unregister("batch")


class EngineTally:
    """Satisfies Tally: events where they already are, on any engine that Ibis reaches by a URL."""

    def __init__(self, url: str, topics: Topics) -> None:
        self._url, self._topics = url, topics

    def __call__(self, day: int, tables: Sequence[Table]) -> Iterator[tuple[str, Cells]]:
        """Yield the counts. Raises ReportError where the engine cannot be reached or has no such table."""
        ibis, _ = _libraries()
        try:
            engine = ibis.connect(self._url)
        except Exception as error:  # each engine has errors of its own
            raise ReportError(f"the engine cannot be reached: {type(error).__name__}") from error
        try:
            yield from counted_by(engine, self._topics, day, tables)
        finally:
            engine.disconnect()


def counted_by(engine: Any, topics: Topics, day: int, tables: Sequence[Table]) -> Iterator[tuple[str, Cells]]:
    """Yield the counts that an Ibis backend gives, which has both tables. Raises ReportError."""
    ibis, pyarrow = _libraries()
    names = ("id", "alone", "beside")
    columns = zip(*((topic, *told) for topic, told in topics.items()), strict=True)
    told = ibis.memtable(pyarrow.table(dict(zip(names, map(list, columns), strict=True))))
    for table in tables:
        try:
            found = engine.to_pyarrow(cells(engine.table(EVENTS), engine.table(DECIDED), told, day, table))
        except Exception as error:
            raise ReportError(f"the engine does not count: {type(error).__name__}") from error
        keys = zip(*(found.column(f"k{i}").to_pylist() for i in range(len(table.dims))), strict=True)
        yield table.name, dict(zip(keys, map(int, found.column("n").to_pylist()), strict=True))


def _libraries() -> tuple[Any, Any]:
    try:
        import ibis
        import pyarrow
    except ImportError as error:
        raise ReportError(
            "counting needs Ibis and DuckDB, which are not installed: pip install 'ibis-framework[duckdb]'"
        ) from error
    return ibis, pyarrow
