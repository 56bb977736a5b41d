"""The reader's page: who paid, why, what was not used; and votes that are counted once."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec
import pytest

from engine.campaign import PoliticalNotice
from engine.change import Change
from engine.errors import StoreError
from engine.why import Trace
from tests.engine.web.conftest import NOW, Service

AGENT = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
TRACE = Trace(
    "planet",
    "k1",
    "c1",
    "Acme <b>&</b> Co",
    "Agency",
    (("page", 7100, "topic 'Cycling' (492)"), ("weather", 2900, "rain: prefers rain"), ("learned", -50, "x")),
    "492",
    0,
    4,
    1,
)


def path_of(service: Service, trace: Trace = TRACE) -> str:
    return service.services.why_links.url(trace).removeprefix("https://ads.example")


def votes(service: Service) -> list[tuple[str, str, int]]:
    rows = service.services.store.rows("SELECT kind, creative, ivt FROM events ORDER BY kind, view")
    return [tuple(row) for row in rows]


def ticket(service: Service) -> str:
    page = service.client.get(path_of(service), headers=AGENT).text
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found
    service.services.time += timedelta(seconds=2)
    return found[1]


def vote(service: Service, token: str, said: str = "not_relevant", **headers: str) -> int:
    data = {"vote": said, "ticket": token}
    return service.client.post(path_of(service), data=data, headers=AGENT | headers).status_code


def test_the_page_tells_who_paid_and_why_in_plain_words(service: Service) -> None:
    answer = service.client.get(path_of(service))
    assert answer.status_code == 200
    assert "Acme &lt;b&gt;&amp;&lt;/b&gt; Co" in answer.text
    assert "paid for by <strong>Agency</strong>" in answer.text
    assert "The Planet" in answer.text
    assert "What the page is about" in answer.text
    assert "topic &#39;Cycling&#39; (492)" in answer.text
    assert [int(p) for p in re.findall(r'percent">(\d+) %', answer.text)] == [71, 29, 0]
    assert "What was not used" in answer.text
    assert answer.headers["Content-Language"] == "en" and '<html lang="en">' in answer.text
    assert "your agreement" not in answer.text


def test_a_choice_by_consented_signals_says_so_and_how_to_end_it(service: Service) -> None:
    trace = Trace(*[getattr(TRACE, name) for name in Trace.__struct_fields__][:-1], kinds=("cohort",))
    text = service.client.get(path_of(service, trace)).text
    assert "a group that the publisher put you in" in text
    assert "End your agreement at The Planet" in text


def test_nothing_runs_and_nothing_is_kept_at_the_reader(service: Service) -> None:
    answer = service.client.get(path_of(service))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert "<script" not in answer.text
    assert service.client.get("/v1/why.css").status_code == 200


@pytest.mark.parametrize("token", ["x", "A" * 300, "%00", "é", "A" * 6000])
def test_what_is_no_link_of_ours_is_told_so(service: Service, token: str) -> None:
    answer = service.client.get(f"/v1/why/{token}")
    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert token not in answer.text or token == "x"


def test_a_vote_counts_once_and_as_what_was_pressed(service: Service) -> None:
    first, second = ticket(service), ticket(service)
    assert vote(service, first) == vote(service, first) == 200
    assert vote(service, second, "too_personal") == 200
    assert votes(service) == [("not_relevant", "c1", 0), ("too_personal", "c1", 0)]


def test_machines_and_haste_are_told_thanks_and_kept_apart(service: Service) -> None:
    assert vote(service, ticket(service), **{"User-Agent": "curl/8"}) == 200
    page = service.client.get(path_of(service), headers=AGENT).text
    at_once = re.search(r'name="ticket" value="([^"]+)"', page)
    assert at_once
    assert vote(service, at_once[1]) == 200
    assert [ivt for _, _, ivt in votes(service)] == [1, 1]


@pytest.mark.parametrize("token", ["", "forged", "A" * 2000])
def test_a_forged_ticket_counts_for_nothing_and_is_answered_alike(service: Service, token: str) -> None:
    assert vote(service, token) == 200
    assert votes(service) == []


def test_a_form_is_read_as_far_as_a_vote_is_long(service: Service) -> None:
    # To decode a form of 2 MB takes most of a second.
    assert vote(service, "x" * 20_000) == 413


def test_what_is_no_vote_is_refused(service: Service) -> None:
    assert vote(service, ticket(service), "click") == 422
    assert vote(service, ticket(service), "impression") == 422
    assert votes(service) == []


def test_a_political_advertisement_tells_its_notice_also_when_it_is_gone(service: Service) -> None:
    store = service.services.store
    before = store.find("campaign", ["k1"])["k1"]
    assert "political advertisement" not in service.client.get(path_of(service)).text
    notice = PoliticalNotice("Party <b>", "Mrs X", "12000 EUR", "the election", "https://acme.test/notice")
    told = msgspec.structs.replace(before, political=True, political_notice=notice)
    store.write([Change(before, told)], [], store.versions(), "t", NOW)
    creatives = [c for c in store.page("creative") if c.campaign == "k1"]
    for step in (None, "deleted"):
        if step:
            gone = [Change(one, None) for one in (*creatives, told)]
            store.write(gone, [], store.versions(), "t", NOW)
        page = service.client.get(path_of(service)).text
        assert "This is a political advertisement" in page
        for said in (
            "Party &lt;b&gt;",
            "Mrs X",
            "12000 EUR",
            "the election",
            'href="https://acme.test/notice"',
        ):
            assert said in page


def test_a_store_that_fails_costs_the_notice_and_not_the_page(service: Service, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(service.services.store, "find", fail)
    answer = service.client.get(path_of(service))
    assert answer.status_code == 200 and "Why it was chosen" in answer.text
