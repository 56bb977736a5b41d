"""Why a creative was chosen, as its link tells it: the trace of the decision, and nothing of a view or a reader."""

from dataclasses import replace

import msgspec
import pytest

from contexts.context import Admitted
from engine.decision import CreativeAnswer, Placement
from engine.tickets import LETTERS, Tickets
from engine.why import WHY_PATH, Trace, Votes, WhyLinks, trace_of
from privacy.event_token import Sealer
from tests.world import NOW, Site, World, advertiser, campaign, creative, publisher, rain, topics

BASE = "https://ads.example"
LINKS = WhyLinks(BASE, b"world")  # as the world's engine signs


@pytest.fixture
def site(tmp_path):
    world = World(tmp_path)
    wishes = {"times": ("evening",), "weather": ("rain",)}
    world.put(
        publisher(),
        advertiser(),
        campaign(paid_by="Agency & Sons", prefer=wishes),
        creative(headline="soup for everyone"),
    )
    return Site(world)


def traced(answer):
    (filled,) = answer.decisions
    return filled, LINKS.read(filled.why_url.removeprefix(BASE + WHY_PATH))


def test_the_link_tells_what_the_explained_decision_tells(site):
    filled, trace = traced(site.ask(title="Soup", text="soup and bread for a long evening"))
    assert trace.reasons == filled.reasons
    assert len(trace.reasons) > 1
    assert (trace.publisher, trace.campaign, trace.creative) == ("planet", "spring", "spring-1")
    assert (filled.dsa.behalf, filled.dsa.paid, filled.dsa.params) == ("Acme", "Agency & Sons", (2,))
    assert (trace.behalf, trace.paid_by) == ("Acme", "Agency & Sons")


def test_who_pays_is_the_advertiser_where_no_other_is_named(site):
    site.world.put(campaign())
    site.world.catalog.refresh()
    filled, _ = traced(site.ask(title="Soup"))
    assert filled.dsa.paid == filled.dsa.behalf == "Acme"


def test_the_creative_is_labelled_and_its_label_links_to_why(site):
    filled, _ = traced(site.ask(title="Soup"))
    shown = msgspec.json.decode(filled.creative, type=CreativeAnswer)
    assert f'<a class="tactful-why" href="{filled.why_url}"' in shown.html
    assert "Advertisement" in shown.html
    assert "Acme, paid for by Agency &amp; Sons" in shown.html
    assert "tactful:why" not in shown.html


def test_equal_scenes_have_equal_links_and_others_have_others(site):
    first, again = (traced(site.ask(title="Soup", text="soup"))[0] for _ in range(2))
    other, _ = traced(site.ask(title="Bread", text="bread and more bread", device_class="phone"))
    assert first.why_url == again.why_url != other.why_url


def test_a_creative_that_writes_the_placeholder_itself_gains_nothing(site):
    site.world.put(creative(headline='href="tactful:why"', body="x"))
    site.world.catalog.refresh()
    filled, _ = traced(site.ask(title="Soup"))
    shown = msgspec.json.decode(filled.creative, type=CreativeAnswer)
    assert shown.html.count(filled.why_url) == 1
    assert shown.assets.headline == 'href="tactful:why"'


def test_of_consented_signals_the_link_tells_the_kind_and_never_the_value(site):
    view = site.world.view
    context = site.world.context("soup", page=site.world.page("soup", topics=topics("210")), weather=rain())

    class Consenting:
        value = Admitted(cohorts=("diabetics",), used=("cohort:diabetics", "exposure"))

    trace = trace_of(replace(context, consented=Consenting()), "spring-1", view.snapshot.entry(0), ())
    assert trace.kinds == ("cohort", "exposure")
    assert trace.params == (1, 2)
    assert "diabetics" not in repr(trace)


TRACE = Trace(
    "planet", "spring", "spring-1", "Acme", "", (("page", 7100, "topic 'Soup' (210)"),), "210", 0, 4, 1
)


def test_no_damaged_link_is_read():
    token = LINKS.url(TRACE).removeprefix(BASE + WHY_PATH)
    assert LINKS.read(token) == TRACE
    changed = [
        token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token) - 1)
    ]
    for bad in (
        *changed,
        token[:-4],
        token + "AAAA",
        "",
        "A",
        "é",
        "A" * 5000,
        token.replace("_", "/") + "=",
    ):
        assert LINKS.read(bad) is None, bad
    assert WhyLinks(BASE, b"another").read(token) is None


def test_a_vote_is_no_other_event_and_no_other_event_a_vote():
    tickets = Tickets(Sealer(b"s" * 32))
    vote = Votes(tickets, now=lambda: NOW, random_bytes=lambda n: b"r" * n).token(TRACE, ivt=False)
    day = int(NOW.timestamp()) // 86_400
    assert [kind for kind, letter in LETTERS.items() if tickets.read(letter + vote, day)] == [
        "not_relevant",
        "too_personal",
    ]
    event = tickets.read("n" + vote, day).event(ivt=False).row
    assert (event.creative, event.section, event.device, event.part, event.weather) == (
        "spring-1",
        "other",
        "phone",
        "evening",
        "clear",
    )
    ticket = tickets.read("n" + vote, day).ticket
    shown = tickets.write(int(NOW.timestamp() * 1000), 0, tickets.packed(ticket), b"r" * 11, 0)
    assert not tickets.read("n" + shown, day)
    assert tickets.read("i" + shown, day)


def test_placements_of_one_answer_have_the_same_link_for_the_same_reason(site):
    answer = site.ask(Placement("top"), Placement("side"), title="Soup")
    assert [filled.placement for filled in answer.decisions] == ["top"]  # one creative: once
