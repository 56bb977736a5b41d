import numpy as np

from contexts.context import Topic
from contexts.encode import unit
from contexts.taxonomy import content_taxonomy
from contexts.topic_vectors import TopicVectors
from engine.campaign import Condition, PageCohort, Targeting
from engine.check.findings import Findings, known_vocabularies
from engine.check.publisher import check_publisher
from engine.cohorts import centre_of, find, text_of
from tests.world import Site, WordEncoder, World, advertiser, campaign, creative, publisher

SPORT = [f"sports cycling road bike race {n}" for n in range(12)]
FOOD = [f"food drink cooking soup kitchen {n}" for n in range(12)]
NAMES = {node.id: node.name for node in content_taxonomy()}
TOPICS = TopicVectors.build(WordEncoder(), content_taxonomy(), {})


def vectors(texts):
    return WordEncoder().encode(texts)


def members(found, texts):
    centres = np.array([centre_of(one) for one in found.cohorts])
    return [found.cohorts[int(at)].id for at in (vectors(texts) @ centres.T).argmax(axis=1)]


def test_pages_about_the_same_are_one_cohort_with_a_name_of_their_topics():
    found = find(vectors(SPORT + FOOD), 2, (), TOPICS, NAMES)
    assert sorted(found.pages) == [12, 12]
    sport, food = set(members(found, SPORT)), set(members(found, FOOD))
    assert len(sport) == len(food) == 1
    assert sport != food
    assert "cycling" in sport.pop()


def test_a_cohort_is_named_by_what_its_pages_are_about_and_others_are_not():
    by_name = {name: Topic(id, name, 0.5) for id, name in NAMES.items()}
    hobbies, cycling, soup = by_name["Hobbies & Interests"], by_name["Cycling"], by_name["Cooking"]
    nothing = Topic(by_name["Music"].id, "Music", 0.0)
    about = [(hobbies, cycling, nothing)] * 12 + [(hobbies, soup)] * 12
    found = find(vectors(SPORT + FOOD), 2, (), TOPICS, NAMES, about)
    assert members(found, SPORT)[0].startswith("cycling-hobbies")
    assert members(found, FOOD)[0].startswith("cooking-hobbies")


def test_the_same_pages_give_the_same_cohorts():
    once, again = (find(vectors(FOOD + SPORT), 4, (), TOPICS, NAMES) for _ in range(2))
    assert once == again


def test_cohorts_keep_their_ids_while_pages_come_and_go():
    before = find(vectors(SPORT + FOOD), 2, (), TOPICS, NAMES)
    fresh = [
        "sports cycling road bike tour",
        "food drink cooking bread kitchen",
        "garden flowers roses soil spade",
    ]
    after = find(vectors(SPORT[3:] + FOOD[4:] + fresh), 3, before.cohorts, TOPICS, NAMES)
    assert {one.id for one in before.cohorts} < {one.id for one in after.cohorts}
    assert members(after, SPORT) == members(before, SPORT)
    assert members(after, FOOD) == members(before, FOOD)
    assert members(after, fresh)[2] not in {one.id for one in before.cohorts}


def test_no_more_cohorts_are_made_than_there_are_different_pages():
    assert len(find(vectors(["one page"] * 9), 5, (), TOPICS, NAMES).cohorts) == 1
    assert find(vectors(["x"])[:0], 5, (), TOPICS, NAMES).cohorts == ()


def test_a_rule_asks_for_a_cohort_of_a_publishers_pages(tmp_path):
    found = find(vectors(SPORT + FOOD), 2, (), TOPICS, NAMES)
    sport = members(found, SPORT)[0]
    world = World(tmp_path)
    rule = Targeting(rule=Condition(page_cohorts=(f"planet/{sport}",)))
    world.put(
        publisher(page_cohorts=found.cohorts),
        publisher("gazette"),
        advertiser(),
        campaign(targeting=rule),
        creative(),
    )
    site = Site(world)
    assert site.shown(title="sports cycling road bike race today") == ["spring-1"]
    assert site.shown(title="food drink cooking soup kitchen today") == []
    assert site.shown(title="sports cycling road bike race today", publisher="gazette") == []


def test_a_centre_that_is_none_and_an_id_twice_are_refused():
    good = PageCohort("one", text_of(vectors(["a page"])[0]))
    found = Findings()
    check_publisher(
        publisher(page_cohorts=(good, good, PageCohort("two", "??"))), known_vocabularies(), found
    )
    assert [error.field for error in found.errors] == ["page_cohorts[1].id", "page_cohorts[2].centre"]


def test_pages_like_no_other_do_not_keep_the_others_together():
    draw = np.random.default_rng(3)
    first, other = unit(draw.standard_normal((2, 64)).astype(np.float32))
    groups = unit(np.array([first, first + 0.7 * other]))  # much alike
    odd = unit(draw.standard_normal((2, 64)).astype(np.float32))
    many = np.repeat(groups, 10, axis=0) + 0.05 * draw.standard_normal((20, 64)).astype(np.float32)
    pages = unit(np.concatenate([many, odd]))
    found = find(pages, 3, (), TOPICS, NAMES)
    assert sorted(found.pages)[1:] == [10, 11]


def test_more_pages_than_are_tried_still_give_as_many_cohorts_as_there_are_kinds(monkeypatch):
    monkeypatch.setattr("engine.cohorts.TRIED", 2)
    pages = vectors(["one page", "another page", "one page", "a third"])
    assert len(find(pages, 3, (), TOPICS, NAMES).cohorts) == 3
