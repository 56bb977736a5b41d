"""Reports from released tables: sums with margins that hold, a floor, refusals that say what is allowed."""

import csv
import io
import json
from itertools import product
from xml.etree import ElementTree

import pyarrow.parquet
import pytest

from engine.errors import QueryRefused
from engine.events import VOTES
from engine.releases import start_of
from engine.report import FLOOR, REPORTS, Answer, Released, Row, Value, answer, ask
from engine.report_files import csv_of, parquet_of
from engine.report_keys import keys_of
from engine.report_show import WHY_NOISY, chart, facts, lines
from privacy.budget import Charge, QueryId
from privacy.release import Axis, charges, day_of, draw, period_of, query_of
from privacy.workload import CAP, MONTH, OUTCOMES, TABLES, UNIT, table
from tests.engine.report_world import DAY, decisions, truth, views
from tests.engine.test_releases import Office

DAILY = [name for name, report in REPORTS.items() if report.is_daily and report.unit == UNIT]
FIRST = DAY - DAY % MONTH - MONTH  # of a period that is over


class Spends:
    """A ledger in memory."""

    def __init__(self):
        self.bodies, self.lost = {}, {}

    def kept(self, query):
        return self.bodies.get(query)

    def keeps(self, query):
        return query in self.bodies

    def spend(self, query, charges, compute):
        if query not in self.bodies:
            for charge in charges:
                self.lost[charge.scope] = self.lost.get(charge.scope, 0) + charge.micro_epsilon
            self.bodies[query] = compute()
        return self.bodies[query]

    def spent(self, scope):
        return self.lost.get(scope, 0)


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """Five weeks of page views, released; the truth of each day."""
    office = Office(tmp_path_factory.mktemp("office"))
    spends, told = Spends(), {}
    for day in range(FIRST, FIRST + 35):
        rows = list(views(500, day))
        told[day] = truth(rows, day, TABLES, decisions(rows))
        keys = keys_of(office.rows, start_of(day), start_of(day + 1))
        for one in TABLES:
            first = period_of(one, day)[0]
            if one.days == 1:
                spends.spend(
                    query_of(one, day), charges(one, day), _drawn(one, day, keys, told[day][one.name])
                )
            elif day == first + MONTH - 1:
                sums = {}
                for each in range(first, day + 1):
                    for key, n in told[each][one.name].items():
                        sums[key] = sums.get(key, 0) + n
                spends.spend(query_of(one, first), charges(one, first), _drawn(one, first, keys, sums))
    office.world.store.close()
    return Released(spends), told


def _drawn(one, first, keys, counts):
    return lambda: draw(one, first, keys.axes(one), counts)


def true_sum(told, name, first, last, **wanted):
    dims = table(name).dims
    return sum(
        n
        for day in range(first, last + 1)
        for key, n in told[day][name].items()
        if all(key[dims.index(dim)] == value for dim, value in wanted.items())
    )


class Everything(Spends):
    """A ledger in which every period up to a day is released."""

    def keeps(self, query):
        return query in EVERY


EVERY = {query_of(table(name), DAY - n) for name in ("topics", "votes-28") for n in range(MONTH, 1000)}


@pytest.mark.parametrize("report", ["topics", "votes"])
def test_the_days_that_are_said_to_be_released_may_be_asked_for(report):
    wanted = table(REPORTS[report].measures[0].day)
    days = Released(Everything()).days(wanted, DAY)
    assert ask(report, days[0], days[-1]).first == days[0]
    assert (days[0], len(days)) == (period_of(wanted, days[0])[0], 400 // wanted.days * wanted.days)


def test_a_report_sums_released_tables_and_its_margins_hold(months):
    released, told = months
    within = tried = 0
    for first, last in ((FIRST, FIRST), (FIRST + 3, FIRST + 12), (FIRST, FIRST + 27), (FIRST, FIRST + 34)):
        for name in DAILY:
            result = answer(released, ask(name, first, last), DAY)
            for row in result.rows:
                wanted = {d: v for d, v in zip(result.query.by, row.key, strict=True) if v is not None}
                if row.merged:
                    continue
                for measure, value in zip(result.query.report.measures, row.values, strict=True):
                    only = dict([measure.only] if measure.only else [])
                    true = true_sum(told, measure.day, first, last, **wanted, **only)
                    within += abs(value.value - true) <= value.margin95
                    tried += 1
    assert tried > 150
    assert within / tried > 0.9


def test_four_weeks_come_from_the_long_table_with_the_smaller_margin(months):
    released, _ = months
    whole = answer(released, ask("creatives", FIRST, FIRST + 27), DAY)
    assert len(whole.releases) == 2
    daily = answer(released, ask("creatives", FIRST, FIRST + 26), DAY)
    assert len(daily.releases) == 2 * 27
    assert whole.rows[0].values[0].margin95 < daily.rows[0].values[0].margin95
    both = answer(released, ask("creatives", FIRST, FIRST + 30), DAY)
    assert len(both.releases) == 2 * 4
    assert both.micro_epsilon == sum(
        table(n).micro_epsilon for n in ("creatives", "creatives-28", "clicks", "clicks-28")
    )


def test_over_days_the_daily_tables_are_read(months):
    released, _ = months
    result = answer(released, ask("creatives", FIRST, FIRST + 27, by=["day"]), DAY)
    assert [row.key for row in result.rows] == [(day_of(d).isoformat(),) for d in range(FIRST, FIRST + 28)]


def test_slices_and_spellings_are_the_same_question(months):
    released, _ = months
    one = ask(
        "creatives", FIRST, FIRST, by=["creative", "campaign"], where={"campaign": ["spring", "spring"]}
    )
    other = ask("creatives", FIRST, FIRST, by=("campaign", "creative"), where={"campaign": {"spring"}})
    assert one == other
    result = answer(released, one, DAY)
    assert {row.key[0] for row in result.rows} == {"spring"}


def drawn_anew(months, *names):
    """Yield the weeks again and again, with noise of their own in these daily tables: of few draws, chance decides."""
    released, told = months
    for _ in range(12):
        spends = Spends()
        for one in map(table, names):
            for day in range(FIRST, FIRST + 35):
                kept = released.table(one, day)
                spends.bodies[query_of(one, day)] = draw(one, day, kept.axes, told[day][one.name])
        yield Released(spends)


def test_ctr_comes_with_an_interval_that_holds_the_truth(months):
    _, told = months
    held = tried = 0
    for released, first in product(drawn_anew(months, "creatives", "clicks"), range(FIRST, FIRST + 35)):
        for row in answer(released, ask("creatives", first, first, by=["campaign"]), DAY).rows:
            if row.ctr is None:
                continue
            shown = true_sum(told, "creatives", first, first, campaign=row.key[0])
            clicked = true_sum(told, "clicks", first, first, campaign=row.key[0])
            held += row.ctr.low <= clicked / shown <= row.ctr.high
            tried += 1
    assert tried > 12 * 60
    assert held / tried >= 0.95, (held, tried)


def test_fill_comes_with_an_interval_that_holds_the_truth(months):
    _, told = months
    held = tried = 0
    for released, first in product(drawn_anew(months, "placements", "revenue"), range(FIRST, FIRST + 35)):
        result = answer(released, ask("sections", first, first, by=["section"]), DAY)
        assert result.micro_epsilon == table("placements").micro_epsilon + table("revenue").micro_epsilon
        for row in (row for row in result.rows if row.fill is not None and not row.merged):
            shown, empty = (
                true_sum(told, "placements", first, first, section=row.key[0], outcome=outcome)
                for outcome in OUTCOMES
            )
            held += row.fill.low <= shown / (shown + empty) <= row.fill.high
            tried += 1
    assert tried >= 12 * 35
    assert held / tried >= 0.95, (held, tried)


def test_a_section_that_nothing_fills_is_told_and_not_below_the_floor():
    wanted, spends = table("placements"), Spends()
    axes = (
        Axis(("publisher", "section"), (("p", "a"), ("p", "b"))),
        Axis(("outcome",), tuple((o,) for o in OUTCOMES)),
    )
    for one, shape in ((wanted, axes), (table("revenue"), axes[:1])):
        body = json.loads(draw(one, DAY, shape, {}))
        body["counts"] = [0, 4000, 0, 3] if one is wanted else [0, 0]
        spends.bodies[query_of(one, DAY)] = json.dumps(body).encode()
    (row,) = answer(Released(spends), ask("sections", DAY, DAY), DAY).rows
    assert row.key == ("p", "a") and [value.value for value in row.values] == [0, 4000, 0]
    assert row.fill is not None and row.fill.low == row.fill.value == 0 < row.fill.high < 0.1


def test_what_readers_said_is_told_by_whole_periods():
    votes, spends = table("votes-28"), Spends()
    axes = (Axis(("campaign",), (("k1",), ("k2",))), Axis(("vote",), tuple((vote,) for vote in VOTES)))
    for period, counts in ((FIRST, [400, 90, 3, 60]), (FIRST - MONTH, [100, 10, 0, 0])):
        body = json.loads(draw(votes, period, axes, {})) | {"counts": counts}
        spends.bodies[query_of(votes, period)] = json.dumps(body).encode()
    released, last = Released(spends), FIRST + MONTH - 1
    told = answer(released, ask("votes", FIRST, last), DAY)
    assert {row.key: row.values[0].value for row in told.rows} == {
        ("k1", "not_relevant"): 400, ("k1", "too_personal"): 90, ("k2", "too_personal"): 60,
    }  # fmt: skip
    assert (len(told.releases), told.micro_epsilon, told.rows[0].ctr) == (1, votes.micro_epsilon, None)
    both = answer(released, ask("votes", FIRST - MONTH, last, by=["campaign"]), DAY)
    assert {row.key: row.values[0].value for row in both.rows} == {("k1",): 600, ("k2",): 63}
    assert len(both.releases) == 2 and list(released.days(votes, DAY)) == list(range(FIRST - MONTH, last + 1))
    for question in (
        ask("votes", FIRST, last - 1),
        ask("votes", FIRST + 1, last),
        ask("votes", FIRST, FIRST),
    ):
        with pytest.raises(QueryRefused, match="whole periods of 28 days") as refused:
            answer(released, question, DAY)
        assert str(day_of(last)) in refused.value.expected
    with pytest.raises(QueryRefused, match="by periods"):
        answer(released, ask("votes", FIRST, last, by=["day"]), DAY)
    with pytest.raises(QueryRefused, match="not closed|not released"):
        answer(released, ask("votes", FIRST + MONTH, last + MONTH), DAY)


def test_rows_below_the_floor_are_told_in_the_smallest_sum_that_reaches_it():
    spends = Spends()
    names = [("big", "a"), ("big", "b"), ("big", "c"), ("small", "d"), ("tiny", "e")]
    counts = dict(zip(names, (4000, 30, 40, 3, 3000), strict=True))
    for name in ("creatives", "clicks"):
        wanted = table(name)
        axes = (Axis(wanted.dims, tuple(sorted(names))),)
        body = draw(wanted, DAY, axes, counts if name == "creatives" else {})
        told = json.loads(body)
        told["counts"] = [counts[tuple(key)] if name == "creatives" else 0 for key in told["axes"][0]["keys"]]
        spends.bodies[query_of(wanted, DAY)] = json.dumps(told).encode()
    result = answer(Released(spends), ask("creatives", DAY, DAY), DAY)
    assert [(row.key, row.merged, row.values[0].value) for row in result.rows] == [
        (("big", "a"), 0, 4000),
        (("big", None), 2, 70),
        (("tiny", "e"), 0, 3000),
    ]
    assert result.withheld == 1
    assert result.total is not None and result.total.values[0].value == 7073
    small = answer(Released(spends), ask("creatives", DAY, DAY, where={"campaign": ["small"]}), DAY)
    assert not small.rows and small.total is None and small.withheld == 1


@pytest.mark.parametrize(
    ("asked", "field", "allowed"),
    [
        (("nothing", 1, 2), "report", "creatives"),
        (("creatives", 1, 2, ["publisher"]), "by", "campaign, creative, day"),
        (("creatives", 1, 2, ["campaign", "campaign"]), "by", "some of"),
        (("sections", 1, 2, None, {"campaign": ["x"]}), "where", "publisher, section"),
        (("sections", 2, 1), "to", "or later"),
        (("sections", 1, 4000), "to", "at most 400"),
    ],
)
def test_a_question_that_cannot_be_is_refused_with_what_can(asked, field, allowed):
    with pytest.raises(QueryRefused) as refused:
        ask(*asked)
    assert refused.value.field == field
    assert allowed in refused.value.expected
    assert not refused.value.now


def test_an_open_day_is_refused_with_the_last_that_is_closed(months):
    with pytest.raises(QueryRefused, match=f"a day up to {day_of(DAY)}") as refused:
        answer(months[0], ask("creatives", FIRST, DAY + 1), DAY)
    assert refused.value.now


def test_a_day_that_was_not_released_is_refused_with_those_that_were(months):
    with pytest.raises(QueryRefused, match=f"from {day_of(FIRST)} to {day_of(FIRST + 34)}"):
        answer(months[0], ask("creatives", FIRST - 3, FIRST), DAY)


def test_a_day_whose_budget_is_spent_is_refused_as_such():
    spends = Spends()
    spends.spend(QueryId("x"), [Charge(f"page-views/{day_of(DAY)}", CAP, CAP)], lambda: b"")
    with pytest.raises(QueryRefused, match="budget is spent"):
        answer(Released(spends), ask("topics", DAY, DAY), DAY)
    with pytest.raises(QueryRefused, match="there are none yet"):
        answer(Released(spends), ask("topics", DAY - 1, DAY - 1), DAY)


def test_a_report_says_what_it_is_worth(months):
    result = answer(months[0], ask("creatives", FIRST, FIRST + 3), DAY)
    text = "\n".join(lines(result))
    for told in (
        UNIT,
        "0.22 for these tables, 1 for all",
        "2 views: 0.44",
        "discrete Laplace",
        "UTC days",
        WHY_NOISY,
    ):
        assert told in text
    assert "±" in text and "CTR" in text
    assert dict(facts(result))["floor"].startswith(f"rows below {FLOOR}")


def test_csv_and_parquet_hold_the_same_rows(months):
    result = answer(months[0], ask("creatives", FIRST, FIRST + 3), DAY)
    rows = list(csv.DictReader(io.StringIO(csv_of(result).decode())))
    table = pyarrow.parquet.read_table(io.BytesIO(parquet_of(result)))
    assert [int(row["impressions"]) for row in rows] == table.column("impressions").to_pylist()
    assert [row["creative"] for row in rows] == table.column("creative").to_pylist()
    assert {row["micro_epsilon"] for row in rows} == {str(result.micro_epsilon)}
    assert table.schema.metadata[b"unit"].decode() == UNIT


@pytest.mark.parametrize("by", [None, ["day"], []])
@pytest.mark.parametrize("name", DAILY)
def test_every_chart_is_well_formed_and_shows_margins(months, name, by):
    picture = chart(answer(months[0], ask(name, FIRST, FIRST + 9, by=by), DAY))
    root = ElementTree.fromstring(picture)
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert "style=" not in picture
    assert ("<polygon" in picture) == (by == ["day"])


def test_a_chart_over_days_has_each_day_in_its_place_and_a_gap_where_one_is_not_told():
    def places(*days):
        rows = tuple(Row((day_of(FIRST + day).isoformat(),), (Value(100, 10),)) for day in days)
        query = ask("topics", FIRST, FIRST + 4, by=["day"])
        root = ElementTree.fromstring(chart(Answer(query, rows, None, 0, 1, (), 0.0, ())))
        lines = root.findall("{http://www.w3.org/2000/svg}polyline")
        return [[float(point.split(",")[0]) for point in line.get("points", "").split()] for line in lines]

    ((first, *_, last),) = places(0, 1, 2, 3, 4)
    assert places(0, 1, 4) == [[first, first + (last - first) / 4], [last]]


def test_an_empty_chart_says_so():
    spends = Spends()
    spends.bodies[query_of(table("topics"), DAY)] = draw(table("topics"), DAY, (Axis(("topic",), ()),), {})
    result = answer(Released(spends), ask("topics", DAY, DAY), DAY)
    assert "No row reaches" in chart(result)
    assert "no row reaches" in "\n".join(lines(result))
