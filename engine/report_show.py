"""A report as text, as rows of plain values, and as a chart (SVG) with a band or whisker for every margin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from html import escape
from itertools import groupby
from typing import Literal

from contexts.taxonomy import content_taxonomy
from engine.report import DAY, FLOOR, Answer, Ratio, Report, Row
from privacy.noise import MICRO
from privacy.release import GROUPS, day_number, day_of
from privacy.workload import UNIT

MOST_BARS = 25  # of a chart: the table has all rows
ZONE = "UTC"
WHY_NOISY = (
    "The numbers carry noise so that no page view can be read off them. Invoices are exact, go by the days of the "
    "flight's time zone and count every billed event; these count at most three impressions and one click of a page "
    "view, by UTC days. The two are not meant to agree day by day."
)
_MONEY = "revenue_micros"
_WIDE, _LEFT, _BAR, _TOP = 760, 270, 22, 34
_LABEL = 34  # characters that have room in _LEFT
UNTOLD = "{}: their events were gone before the period was released"
_INK, _SOFT, _FILL, _BAND = "#1d2733", "#5b6672", "#2f6f9f", "#a9c8de"


def labels() -> dict[str, Callable[[str], str]]:
    """Give, for dimensions whose values are ids that nobody knows by heart, what they are called."""
    taxonomy = content_taxonomy()
    named = {node.id: taxonomy.path(node.id) for node in taxonomy}
    return {"topic": lambda id: named.get(id, "topic not known") if id else "topic not known"}


def facts(answer: Answer) -> list[tuple[str, str]]:
    """Say what a report is worth, and what it cost: (name, text)."""
    epsilon = answer.micro_epsilon / MICRO
    query = answer.query
    views = query.report.unit == UNIT
    group = ", ".join(f"{n} {'views' if views else 'days'}: {n * epsilon:g}" for n in GROUPS[1:])
    noise = " and ".join(answer.mechanisms) or "none"
    return [
        ("period", f"{day_of(query.first)} to {day_of(query.last)}, {ZONE} days"),
        *([("days not told", UNTOLD.format(answer.untold))] if answer.untold else ()),
        ("unit", query.report.unit),
        (
            "epsilon per unit",
            f"{epsilon:g} for these tables, {query.report.lost_in_all / MICRO:g} for all that is released",
        ),
        ("a person with several views that day" if views else "a reader of several days", group),
        ("noise", f"{noise}, delta {answer.delta:g}"),
        ("margin", "the true number lies within ± margin in 95 of 100 cases"),
        ("floor", f"rows below {FLOOR} are told in the sum above them; {answer.withheld} could not be told"),
    ]


def names(answer: Answer) -> list[str]:
    """Give the names of the columns of `plain`."""
    found = [*answer.query.by, "merged"]
    for measure in answer.query.report.measures:
        found += [measure.name, f"{measure.name}_margin95"]
    for name, _ in ratios(answer.query.report):
        found += [name, f"{name}_low", f"{name}_high"]
    return found


def ratios(report: Report) -> list[tuple[Literal["ctr", "fill"], str]]:
    """Give the ratios that a report tells, with what a person calls them."""
    return [*([("ctr", "CTR")] if report.ctr else []), *([("fill", "fill")] if report.fill else [])]  # type: ignore[list-item]  # both are literals


def plain(answer: Answer, row: Row) -> list[str | int | float | None]:
    """Give a row as values, in the order of `names`."""
    cells: list[str | int | float | None] = [*row.key, row.merged]
    for value in row.values:
        cells += [value.value, value.margin95]
    for name, _ in ratios(answer.query.report):
        ratio: Ratio | None = getattr(row, name)
        cells += [None, None, None] if ratio is None else ratio
    return cells


def title_of(answer: Answer, row: Row, called: Mapping[str, Callable[[str], str]]) -> str:
    """Name a row for a person."""
    parts = []
    for dim, value in zip(answer.query.by, row.key, strict=True):
        if value is not None:
            parts.append(called[dim](value) if dim in called else value or f"{dim} not known")
    if row.merged:
        parts.append(f"others ({row.merged})")
    return " / ".join(parts) or "all"


def number(measure: str, value: int) -> str:
    """Write a number of a measure: money in units of the currency."""
    return f"{value / MICRO:,.2f}" if measure == _MONEY else f"{value:,}"


def measure_title(name: str) -> str:
    """Name a measure for a person."""
    return {_MONEY: "revenue"}.get(name, name.replace("_", " "))


def interval(ratio: Ratio | None) -> str:
    """Write a ratio with its interval."""
    if ratio is None:
        return "–"
    return f"{percent(ratio.value)} ({percent(ratio.low)} to {percent(ratio.high)})"


def percent(value: float) -> str:
    """Write a ratio."""
    hundredths = 100 * value
    return f"{hundredths:,.0f} %" if hundredths >= 100 else f"{hundredths:.3g} %"


def amount(micros: int) -> str:
    """Write money in units of the currency, to the micro-unit."""
    sign, units, rest = "-" if micros < 0 else "", *divmod(abs(micros), MICRO)
    return f"{sign}{units:,}.{rest:06}"


def lines(answer: Answer) -> Iterator[str]:
    """Yield a report as a table, with what it is worth below."""
    called = labels()
    measures = [measure.name for measure in answer.query.report.measures]
    head = ["", *(f"{measure_title(m)} ± margin" for m in measures)]
    rows = [*answer.rows, *([answer.total] if answer.total else [])]
    table = []
    for row in rows:
        title = "total" if row is answer.total else title_of(answer, row, called)
        cells = [
            f"{number(m, v.value)} ± {number(m, v.margin95)}"
            for m, v in zip(measures, row.values, strict=True)
        ]
        cells += [interval(getattr(row, name)) for name, _ in ratios(answer.query.report)]
        table.append([title, *cells])
    head += [f"{title} (interval)" for _, title in ratios(answer.query.report)]
    if not table:
        yield f"no row reaches {FLOOR}"
    else:
        widths = [max(len(line[i]) for line in [head, *table]) for i in range(len(head))]
        for line in [head, *table]:
            first, *rest = (
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            yield "  ".join([first, *rest]).rstrip()
    yield ""
    for name, text in facts(answer):
        yield f"{name}: {text}"
    yield WHY_NOISY


def chart(answer: Answer, measure: int = 0) -> str:
    """Draw a measure: bars with whiskers, or over days a line with a band. An empty report says so."""
    name = answer.query.report.measures[measure].name
    title = f"{measure_title(name)}, {day_of(answer.query.first)} to {day_of(answer.query.last)}"
    if not answer.rows:
        return _svg(title, 80, [_text(_WIDE / 2, 48, "No row reaches the floor.", _SOFT, "middle")])
    if answer.query.by == (DAY,):
        return _over_days(answer, measure, name, title)
    return _bars(answer, measure, name, title)


def _bars(answer: Answer, measure: int, name: str, title: str) -> str:
    called = labels()
    rows = sorted(answer.rows, key=lambda row: -row.values[measure].value)[:MOST_BARS]
    most = max(1, *(row.values[measure].value + row.values[measure].margin95 for row in rows))
    room = _WIDE - _LEFT - 130
    shapes = []
    for place, row in enumerate(rows):
        value, margin = row.values[measure]
        y = _TOP + place * _BAR
        middle = y + _BAR / 2
        low, high = (max(0, value - margin), max(0, value + margin))
        x = [_LEFT + room * v / most for v in (max(0, value), low, high)]
        shapes += [
            _text(_LEFT - 8, middle + 4, _short(title_of(answer, row, called), _LABEL), _INK, "end"),
            _rect(_LEFT, y + 4, x[0] - _LEFT, _BAR - 8, _FILL),
            _rect(x[1], middle - 2.5, x[2] - x[1], 5, _BAND, _INK),
            _text(x[2] + 6, middle + 4, f"{number(name, value)} ± {number(name, margin)}", _SOFT, "start"),
        ]
    return _svg(title, _TOP + len(rows) * _BAR + 12, shapes)


def _over_days(answer: Answer, measure: int, name: str, title: str) -> str:
    """Draw a line over the days of the period, which ends at days that are not told by themselves and begins anew."""
    told = {
        day_number(date.fromisoformat(row.key[0])): row.values[measure] for row in answer.rows if row.key[0]
    }
    first, last = answer.query.first, answer.query.last
    height, room = 220, _WIDE - 120
    most = max(1, *(v.value + v.margin95 for v in told.values())) if told else 1

    def at(day: int, value: float) -> tuple[str, str]:
        along = (day - first) / (last - first) if last > first else 0.5
        return f"{90 + room * along:.1f}", f"{_TOP + height - height * max(0.0, value) / most:.1f}"

    shapes = []
    for run in _runs(sorted(told)):
        line = [at(day, told[day].value) for day in run]
        upper = [at(day, told[day].value + told[day].margin95) for day in run]
        lower = [at(day, told[day].value - told[day].margin95) for day in reversed(run)]
        shapes += [
            f'<polygon points="{_points(upper + lower)}" fill="{_BAND}" stroke="{_BAND}" stroke-width="3"/>',
            f'<polyline points="{_points(line)}" fill="none" stroke="{_FILL}" stroke-width="2"/>',
            *(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{_FILL}"/>' for x, y in line),
        ]
    shapes += [
        _text(82, _TOP + 6, number(name, most), _SOFT, "end"),
        _text(82, _TOP + height, "0", _SOFT, "end"),
        _rect(90, _TOP + height, room, 1, _SOFT),
        _text(90, _TOP + height + 18, day_of(first).isoformat(), _SOFT, "start"),
        _text(90 + room, _TOP + height + 18, day_of(last).isoformat(), _SOFT, "end"),
    ]
    if len(told) <= last - first:
        missing = "days without a mark are not told by themselves"
        shapes.append(_text(90 + room / 2, _TOP + height + 18, missing, _SOFT, "middle"))
    return _svg(title, _TOP + height + 30, shapes)


def _runs(days: Sequence[int]) -> Iterator[list[int]]:
    """Yield the runs of days that follow each other."""
    for _, run in groupby(enumerate(days), key=lambda numbered: numbered[1] - numbered[0]):
        yield [day for _, day in run]


def _points(places: Sequence[tuple[str, str]]) -> str:
    return " ".join(map(",".join, places))


def _svg(title: str, height: float, shapes: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {height:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{escape(title)}</title>'
        f'<rect width="{_WIDE}" height="{height:.0f}" fill="#ffffff"/>'
        f"{_text(12, 20, title, _INK, 'start')}{''.join(shapes)}</svg>"
    )


def _text(x: float, y: float, text: str, ink: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{ink}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, fill: str, line: str | None = None) -> str:
    stroke = f' stroke="{line}" stroke-width="0.5"' if line else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}" fill="{fill}"{stroke}/>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else "…" + text[-most + 1 :]
