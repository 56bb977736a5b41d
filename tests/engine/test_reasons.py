import pytest

from contexts.context import WeatherFacts
from engine.campaign import Prefer
from engine.decision import Ranked
from engine.reasons import nearest_topic, page_answer, reasons, score_of
from engine.retrieve import soften
from tests.world import Site, World, advertiser, campaign, creative, publisher, topics


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), advertiser())
    world.put(campaign(prefer=Prefer(weather=("rain",), times=("morning",))), creative())
    world.put(campaign("plain"), creative("plain-1", "plain", headline="Cycling bikes"))
    world.put(campaign("home", house=True), creative("home-1", "home"))
    return world


def told(world, context, name):
    """Return the reasons of a creative in a context, by facet."""
    snapshot, engine = world.view.snapshot, Site(world).engine
    row = snapshot.row_of(name)
    soft = soften(snapshot, context)
    prefer = int(snapshot.prefer[row])
    score = float(snapshot.index.vector(row) @ soft.query) * float(soft.mood.factor[prefer])
    about = nearest_topic(snapshot, context.page, engine.topics, row)
    why = reasons(snapshot, context, soft, Ranked(row, score, 0.0, 0, score), about)
    assert score_of(why) == pytest.approx(score, abs=3e-4)
    return {reason.facet: reason for reason in why}, why


def test_only_facets_that_a_creative_states_are_told_largest_first(world):
    context = world.context("headline of spring-1", weather=WeatherFacts("rain", "cold"))
    by_facet, why = told(world, context, "spring-1")
    assert set(by_facet) == {"page", "time", "weather"}
    assert [r.share for r in why] == sorted((r.share for r in why), reverse=True)
    assert by_facet["weather"].share > 0
    assert "rain" in by_facet["weather"].because
    assert by_facet["time"].share == 0  # it is evening
    assert set(told(world, context, "plain-1")[0]) == {"page"}


def test_unknown_weather_has_no_share_and_is_said_so(world):
    by_facet, _ = told(world, world.context("headline of spring-1"), "spring-1")
    assert by_facet["weather"].share == 0
    assert "unknown" in by_facet["weather"].because


def test_a_page_that_could_not_be_read_has_no_share(world):
    by_facet, why = told(world, world.context(""), "plain-1")
    assert by_facet["page"].share == 0
    assert by_facet["page"].because == "the page could not be read"
    assert score_of(why) == 0


def test_a_page_unlike_the_creative_has_a_negative_share(world):
    vector = -world.view.snapshot.index.vector(world.view.snapshot.row_of("plain-1"))[:64]
    page = world.page("x", vector=(vector / (vector @ vector) ** 0.5).astype("float32"))
    by_facet, why = told(world, world.context(page=page), "plain-1")
    assert by_facet["page"].share < 0
    assert score_of(why) < 0


def test_the_topic_nearest_to_the_creative_is_named(world):
    page = world.page("Sports Cycling bikes", topics=topics("492", "210"))
    because = told(world, world.context(page=page), "plain-1")[0]["page"].because
    assert "492" in because


def test_a_house_creative_says_that_it_is_one(world):
    by_facet, _ = told(world, world.context("anything"), "home-1")
    assert by_facet["house"].share == 0


def test_a_pages_answer_holds_what_was_understood_and_no_vector(world):
    page = world.page("x", topics=topics("492"), sensitive=frozenset({"crime", "arms"}), notes=("a note",))
    answer = page_answer(page)
    assert [t.id for t in answer.topics] == ["492"]
    assert answer.sensitive == ("arms", "crime")
    assert answer.notes == ("a note",)
    assert answer.cattax == 9
