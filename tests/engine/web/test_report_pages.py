"""The pages of the reports: plain HTML that stands without scripts, with a table beside each chart."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from engine.events import Event, Row
from engine.money import Entry
from engine.web.report_pages import HEADERS
from tests.engine.web.conftest import Service
from tests.engine.web.test_reports import DATE, DAY, NEXT, TODAY, get, released, seeded_day  # noqa: F401 - fixtures

VOID = {"meta", "link", "input", "br", "img"}


class Outline(HTMLParser):
    """Checks that elements close, and keeps what a reader of the page depends on."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.labels, self.ids, self.fields = [], [], set(), set(), set()
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.seen.append((tag, given))
        self.labels |= {given["for"]} if tag == "label" else set()
        self.ids |= {given["id"]} if "id" in given else set()
        visible = tag in ("input", "select", "textarea") and given.get("type") != "hidden"
        self.fields |= {given["id"]} if visible else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def show(service: Service, key: str, report: str, first: str = DATE, last: str = DATE):
    sent = {"key": service.keys.get(key, key), "report": report, "from": first, "to": last}
    return service.client.post("/reports", data=sent)


def checked(answer) -> Outline:
    outline = Outline(answer.text)
    assert outline.fields <= outline.labels
    assert {given["lang"] for tag, given in outline.seen if tag == "html"} == {"en"}
    for tag, given in outline.seen:
        assert tag != "script" and "style" not in given and not any(name.startswith("on") for name in given)
        for name in ("href", "src", "action"):
            assert re.match(r"/(?!/)", given.get(name) or "/"), given  # no third party
    for tag, given in outline.seen:
        if tag == "th":
            assert given["scope"] in ("row", "col")
    for name, value in HEADERS:
        assert answer.headers[name] == value
    assert "Set-Cookie" not in answer.headers
    return outline


def test_the_empty_pages_stand(service):
    for path in ("/reports", "/reports/plan"):
        assert checked(service.client.get(path))
    assert service.client.get("/reports/reports.css").content_type.startswith("text/css")


@pytest.mark.parametrize(
    ("key", "report"),
    [
        ("acme", "creatives"),
        ("acme", "contexts"),
        ("planet", "sections"),
        ("planet", "moments"),
        ("operator", "topics"),
    ],
)
def test_a_report_has_a_table_beside_every_chart(released, key, report):  # noqa: F811
    answer = show(released, key, report)
    assert answer.status_code == 200, answer.text
    outline = checked(answer)
    tags = [tag for tag, _ in outline.seen]
    assert tags.count("svg") >= 1 and tags.count("caption") >= 1
    for picture in re.findall(r"<svg.*?</svg>", answer.text, re.S):
        ElementTree.fromstring(picture)
    assert "±" in answer.text and "epsilon per unit" in answer.text and "not meant to agree" in answer.text


def test_without_rows_the_page_says_so(released):  # noqa: F811
    answer = show(released, "rival", "creatives")
    assert "No row reaches the floor" in answer.text
    assert checked(answer)


@pytest.mark.parametrize(
    ("key", "report", "first", "status", "told"),
    [
        ("forged", "creatives", DATE, 401, "not valid"),
        ("planet", "creatives", DATE, 404, "sections, topics, moments"),
        ("acme", "<b>", DATE, 404, "creatives, contexts, topics, votes"),
        ("acme", "creatives", "<script>", 422, "Two days"),
        ("acme", "creatives", "2020-01-01", 422, "at most 400"),
        ("acme", "creatives", "2026-11-20", 409, "which was not released"),
    ],
)
def test_what_cannot_be_shown_is_told_in_the_page(released, key, report, first, status, told):  # noqa: F811
    answer = show(released, key, report, first)
    assert answer.status_code == status
    assert told in answer.text
    assert "<script>" not in answer.text and "<b>" not in answer.text
    assert any(given.get("role") == "alert" for _, given in checked(answer).seen)


def test_what_was_billed_and_given_back_stands_beside_a_report(released):  # noqa: F811
    store, at = released.services.store, NEXT + timedelta(days=30)
    released.services.time = at
    which = (DAY, "planet", "sport", "483", "k1", "c1", "phone", "evening", "rain")
    store.events().keep([Event(Row(b"v" * 16, 0, "impression", *which, 0, 1_234_567_891), DAY, 0)])
    store.money().refund(Entry("refund/k1/a", at, "test", "refund", "k1", DAY, 200_000), DAY, DAY)
    text = show(released, "acme", "creatives").text
    assert ">1,234.567891 EUR</td>" in text and ">0.200000 EUR</td>" in text


def test_a_plan_is_shown_with_the_days_that_it_needs(service):
    answer = get(service, "/reports/plan", impressions=5000, ctr=0.005, lift=0.2)
    assert checked(answer) and "days</strong>" in answer.text
    assert '± 112</td><td class="number">2.24 %</td><td class="number">179 %' in answer.text
    assert "e+" not in get(service, "/reports/plan", impressions=1, ctr=0.000001, lift=100).text
    for query in ({"impressions": "x"}, {"impressions": 5, "ctr": 2}, {"impressions": 5, "ctr": "nan"}):
        wrong = get(service, "/reports/plan", **query)
        assert wrong.status_code == 422 and "alert" in wrong.text
    assert TODAY


def test_a_form_is_read_as_far_as_it_has_fields(service: Service):
    assert show(service, "x" * 20_000, "delivery").status_code == 413
