"""The pages on which campaigns are booked and creatives approved: plain HTML that stands without scripts."""

import re

import pytest
from werkzeug.formparser import FormDataParser

from engine.web.manage_pages import HEADERS
from tests.engine.web.conftest import Service
from tests.engine.web.test_report_pages import Outline

NEW = {
    "id": "spring",
    "name": "Spring",
    "cpm_micros": "2.50",
    "flight.start": "2026-12-01T09:30",
    "flight.end": "2026-12-31T18:00",
    "flight.timezone": "Europe/Berlin",
    "flight.daily_budget_micros": "120",
    "flight.pacing": "even",
    "targeting.topics.include": "483; 210",
    "targeting.devices.include": ["phone", "tablet"],
    "targeting.hours": "mon tue 09:00-17:30 Europe/Berlin\n20:00-01:00",
    "targeting.temperature_c.below": "5.5000001",
    "targeting.rule": '{"any": [{"weather": ["rain"]}, {"wind_ms": {"at_least": 8}}]}',
    "suitability.accept_unknown": "yes",
}


def send(service: Service, key: str, do: str = "home", status: int = 200, **fields):
    answer = service.client.post("/manage", data={"key": service.keys.get(key, key), "do": do, **fields})
    assert answer.status_code == status, answer.text
    return checked(answer)


def checked(answer):
    outline = Outline(answer.text)
    assert outline.fields <= outline.labels, outline.fields - outline.labels
    for tag, given in outline.seen:
        assert tag not in ("script", "iframe", "object") and "style" not in given
        assert not any(name.startswith("on") for name in given)
        for name in ("href", "src", "action"):
            assert re.match(r"/(?!/)|#", given.get(name) or "/"), given
        for at in (given.get("aria-describedby") or "").split():
            assert at in outline.ids
        if (given.get("href") or "").startswith("#"):
            assert given["href"][1:] in outline.ids
    ids = [given["id"] for _, given in outline.seen if "id" in given]
    assert len(ids) == len(set(ids))
    for name, value in HEADERS:
        assert answer.headers[name] == value
    assert "Set-Cookie" not in answer.headers
    return answer


def hidden(answer, name):
    return re.search(rf'name="{re.escape(name)}" value="([^"]*)"', answer.text).group(1)


def stored(service, kind, id):
    return service.call("GET", f"/v1/{kind}s/{id}", key="operator").json


def test_a_campaign_is_booked_with_its_flight_and_rules(service: Service):
    send(service, "acme", "new-campaign")
    answer = send(service, "acme", "save-campaign", **NEW)
    assert "Saved." in answer.text
    told = stored(service, "campaign", "spring")
    assert told["advertiser"] == "acme"
    assert told["cpm_micros"] == 2_500_000
    assert told["flight"] == {
        "start": "2026-12-01T09:30:00+01:00",
        "end": "2026-12-31T18:00:00+01:00",
        "daily_budget_micros": 120_000_000,
        "timezone": "Europe/Berlin",
        "pacing": "even",
    }
    targeting = told["targeting"]
    assert targeting["topics"]["include"] == ["483", "210"]
    assert targeting["devices"]["include"] == ["phone", "tablet"]
    assert targeting["hours"] == [
        {"start": "09:00", "end": "17:30", "timezone": "Europe/Berlin", "weekdays": ["mon", "tue"]},
        {"start": "20:00", "end": "01:00"},
    ]
    assert targeting["temperature_c"] == {"below": 5.5000001}
    assert targeting["rule"]["any"][1] == {"wind_ms": {"at_least": 8.0}}
    assert told["suitability"] == {"accept_unknown": True}


def test_what_a_form_shows_it_saves_again_unchanged(service: Service):
    send(service, "acme", "save-campaign", **NEW)
    moved = stored(service, "campaign", "spring")
    # The second half past two of that night, and seconds, which no field shows.
    moved["flight"] |= {"start": "2026-10-25T02:30:15+01:00", "end": "2027-10-31T02:30:00+01:00"}
    service.call("PUT", "/v1/campaigns/spring", body=moved, key="operator")
    before = stored(service, "campaign", "spring")
    assert before["flight"] == moved["flight"]
    opened = send(service, "acme", "campaign", id="spring")
    fields: dict[str, list[str]] = {}
    for tag, given in Outline(opened.text).seen:
        if tag == "input" and given.get("name") and given.get("type") in (None, "datetime-local"):
            fields.setdefault(given["name"], []).append(given.get("value", ""))
        if tag == "input" and given.get("type") == "checkbox" and "checked" in given:
            fields.setdefault(given["name"], []).append(given["value"])
    import html

    for name, text in re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>\n(.*?)</textarea>', opened.text, re.S):
        fields[name] = [html.unescape(text)]
    fields |= {"flight.pacing": ["even"], "suitability.risk": ["none"]}
    answer = send(service, "acme", "save-campaign", **fields, id="spring", seen=hidden(opened, "seen"))
    assert "Saved." in answer.text
    assert stored(service, "campaign", "spring") == before


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("cpm_micros", "much", "got 'much', expected an amount such as 2.50"),
        ("flight.budget_micros", "1,000", "got '1,000', expected an amount such as 2.50"),
        ("share_cap", "half", "got 'half', expected a number"),
        ("flight.end", "2020-01-01T00:00", "a time after the start"),
        ("flight.end", "2027-03-28T02:30", "a clock set forward leaves out an hour"),
        ("flight.daily_budget_micros", "0", "at least 1"),
        ("flight.timezone", "Mars/Base", "an IANA time zone"),
        ("targeting.topics.include", "Sport", "IAB Content Taxonomy 3.1"),
        ("targeting.hours", "25:00-26:00", "got '25:00'"),
        ("targeting.rule", '{"any": [{"topics": ["nope"]}]}', "'nope'"),
        ("targeting.rule", "{", "got"),
        ("share_cap", "2", "got 2"),
        ("political", "yes", "who pays"),
    ],
)
def test_an_error_stands_beside_its_field_and_nothing_is_lost(service: Service, field, text, words):
    answer = send(service, "acme", "save-campaign", 422, **NEW | {field: text})
    at = {"political": "political_notice.sponsor"}.get(field, field)
    ids = [f"f-{at.replace('.', '-')}"]
    told = re.search(rf'id="{ids[0]}-fault">([^<]*)<', answer.text)
    assert told and words in told[1].replace("&#39;", "'"), answer.text
    assert f'href="#{ids[0]}"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert 'value="Spring"' in answer.text  # what was typed is still there
    assert service.call("GET", "/v1/campaigns/spring", key="operator").status_code == 404


@pytest.mark.parametrize("id", ["Spring 1", "k1", ""])
def test_an_id_that_is_none_or_taken_is_told_beside_its_field(service: Service, id):
    answer = send(service, "acme", "save-campaign", 422, **NEW | {"id": id})
    assert 'href="#f-id"' in answer.text and 'id="f-id-fault"' in answer.text
    assert f'name="id" value="{id}" aria-invalid="true"' in answer.text


def test_an_operator_says_whose_a_new_campaign_is(service: Service):
    assert 'name="advertiser"' in send(service, "operator", "new-campaign").text
    answer = send(service, "operator", "save-campaign", 422, **NEW | {"advertiser": "nobody"})
    assert 'id="f-advertiser-fault"' in answer.text
    assert "Saved." in send(service, "operator", "save-campaign", **NEW | {"advertiser": "acme"}).text


def test_markup_in_what_is_typed_stays_text(service: Service):
    answer = send(
        service, "acme", "save-campaign", 422, **NEW | {"name": '"><script>x</script>', "id": "<b>"}
    )
    assert "<script>" not in answer.text
    assert "<b>" not in answer.text


def test_a_campaign_and_its_creatives_are_paused_and_resumed(service: Service):
    for kind, id in (("campaign", "k1"), ("creative", "c1")):
        send(service, "acme", "pause", kind=kind, id=id)
        assert stored(service, kind, id)["status"] == "paused"
        send(service, "acme", "resume", kind=kind, id=id)
        assert stored(service, kind, id).get("status", "active") == "active"


def test_a_creative_is_made_edited_and_not_overwritten_unseen(service: Service):
    send(service, "acme", "new-creative", campaign="k1")
    made = {
        "id": "c7",
        "campaign": "k1",
        "format": "native",
        "headline": "Dry feet",
        "landing_url": "https://acme.test/",
        "offer.price": "9.99",
        "offer.currency": "EUR",
        "offer.stock": "4",
    }
    send(service, "acme", "save-creative", **made)
    assert stored(service, "creative", "c7")["offer"] == {"price": "9.99", "currency": "EUR", "stock": 4}
    opened = send(service, "acme", "creative", id="c7")
    seen = hidden(opened, "seen")
    send(service, "acme", "save-creative", seen=seen, **made | {"headline": "Drier feet"})
    late = send(service, "acme", "save-creative", 409, seen=seen, **made | {"headline": "Driest feet"})
    assert stored(service, "creative", "c7")["headline"] == "Drier feet"
    assert "nothing was saved" in late.text and "Dry feet → Drier feet" in late.text
    assert re.search(r'name="headline" value="Driest feet"', late.text)  # what was typed is still there
    again = {"seen": hidden(late, "seen"), **made, "headline": "Driest feet"}
    assert "Saved." in send(service, "acme", "save-creative", **again).text
    assert stored(service, "creative", "c7")["headline"] == "Driest feet"


@pytest.mark.parametrize("do", ["a new one", "a change"])
def test_a_form_that_is_sent_twice_is_saved_once(service: Service, do):
    seen = {}
    if do == "a change":
        send(service, "acme", "save-campaign", **NEW)
        seen = {"seen": hidden(send(service, "acme", "campaign", id="spring"), "seen"), "name": "Summer"}
    for _ in range(2):
        assert "Saved." in send(service, "acme", "save-campaign", **NEW | seen).text
    changed = send(service, "acme", "campaign", id="spring").text
    assert changed.count("Spring → Summer") == (do == "a change")


def test_a_new_thing_takes_no_others_id(service: Service):
    answer = send(service, "acme", "save-campaign", 422, **NEW | {"id": "k1"})
    assert "an id that no campaign has" in answer.text


def test_another_tenants_things_are_not_told(service: Service):
    before = service.services.store.versions()
    for do, fields in (
        ("campaign", {"id": "k1"}),
        ("creative", {"id": "c1"}),
        ("new-creative", {"campaign": "k1"}),
        ("pause", {"kind": "campaign", "id": "k1"}),
        ("save-campaign", {"id": "k1", "seen": "x", **{k: v for k, v in NEW.items() if k != "id"}}),
    ):
        answer = send(service, "rival", do, 404, **fields)
        assert "Boots" not in answer.text
    answer = send(service, "rival", "save-campaign", 422, **NEW | {"id": "k1"})
    assert "Boots" not in answer.text
    assert service.services.store.versions() == before


def test_without_a_good_key_there_is_only_the_question_for_one(service: Service):
    answer = send(service, "tactful_advertiser_0", "campaign", 401, id="k1")
    assert "Boots" not in answer.text
    assert "not valid" in answer.text
    checked(service.client.get("/manage"))


@pytest.mark.parametrize("path", ["/manage", "/publisher"])
def test_a_form_without_a_good_key_is_not_read(service: Service, path, monkeypatch):
    monkeypatch.setattr(FormDataParser, "parse", lambda *args: pytest.fail("the form was read"))
    for form in ("key=tactful_advertiser_0&a=1", "a=1&key=%74", "key=&key", "akey=1", ""):
        answer = service.client.post(path, data=form, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 401 and "not valid" in answer.text


def test_a_key_is_found_wherever_a_form_has_it(service: Service):
    for form in (f"do=home&key=+{service.keys['acme']}", f"do=home&key={service.keys['acme']}%0D%0A&x=1"):
        answer = service.client.post("/manage", data=form, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 200 and "Campaigns" in answer.text


def test_a_publisher_answers_the_queue(service: Service):
    opened = send(service, "globe")
    assert "c1" in opened.text
    send(service, "globe", "approved", creative="c1", hash=hidden(opened, "hash"))
    told = service.call("GET", "/v1/approvals/globe", key="globe").json
    assert told["items"][0]["state"] == "approved"
    send(service, "globe", "rejected", 409, creative="c1", hash="0" * 64)


def test_a_publisher_sees_every_line_that_a_message_may_show_before_it_answers(service: Service):
    creative = stored(service, "creative", "c1")
    parts = {
        "headlines": [{"id": "a", "text": "Boots & more"}],
        "ctas": [{"id": "b", "text": "Try them on"}],
        "offers": [{"id": "c", "text": "Now {{ price | less }}", "price": "89.00", "currency": "EUR"}],
    }
    body = {name: value for name, value in creative.items() if name not in ("kind", "id")} | {"parts": parts}
    assert service.call("PUT", "/v1/creatives/c1", key="acme", body=body).status_code == 200
    opened = send(service, "globe").text
    assert "Boots &amp; more" in opened and "Try them on" in opened
    assert "Now {{ price | less }} (89.00 EUR)" in opened


def test_a_publisher_stops_all_or_one_advertiser(service: Service):
    send(service, "globe", "block", advertiser="acme")
    assert stored(service, "publisher", "globe")["block_advertisers"] == ["acme"]
    send(service, "globe", "unblock", advertiser="acme")
    send(service, "globe", "stop")
    told = stored(service, "publisher", "globe")
    assert (told["status"], told.get("block_advertisers", [])) == ("stopped", [])
    assert "Nothing is shown on your pages" in send(service, "globe").text
    send(service, "globe", "start")
    assert stored(service, "publisher", "globe").get("status", "active") == "active"


def test_a_publisher_does_nothing_of_an_advertiser(service: Service):
    before = service.services.store.versions()
    send(service, "globe", "save-campaign", **NEW)
    send(service, "globe", "pause", kind="campaign", id="k1")
    assert service.services.store.versions() == before
