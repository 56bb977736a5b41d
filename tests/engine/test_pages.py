import gc
import logging
import threading
from datetime import timedelta

import numpy as np
import pytest

from contexts.errors import FetchError
from contexts.extract import PageText, read
from engine.campaign import Rule, Targeting
from engine.errors import StoreError
from privacy.visit import PageInput
from tests.world import Site, World, advertiser, campaign, creative, publisher

TEXT = (
    "The peloton climbed the last mountain in pouring rain, and a breakaway of four riders held on until the "
    "finish; bicycles, helmets and wet roads decided the stage."
)
GERMAN = (
    "Das Peloton erreichte den letzten Berg bei strömendem Regen, und eine Gruppe von vier Fahrern hielt sich "
    "bis zum Ziel; Räder, Helme und nasse Straßen entschieden die Etappe."
)
CYCLING = "492"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), publisher("gazette", fetch=True), advertiser(), campaign(), creative())
    return world


@pytest.fixture
def site(world):
    return Site(world)


class Faulty:
    """An encoder that fails as long as it is told to, quoting what it was given."""

    def __init__(self, encoder):
        self.inner, self.id, self.dim, self.broken = encoder, encoder.id, encoder.dim, True

    def encode(self, texts, tokens=64):
        if self.broken:
            raise RuntimeError(f"cannot read {texts[0]!r}")
        return self.inner.encode(texts, tokens)


def test_the_first_view_has_a_vector_the_second_the_same_and_the_better_one_replaces_it(site, world):
    first = site.read(text=TEXT)
    assert first.vector is not None
    assert not first.better
    assert first.suitability_known
    assert site.read(text=TEXT) is first
    site.work()
    second = site.read(text=TEXT)
    assert second.better
    assert second.content_hash == first.content_hash
    assert not np.allclose(second.vector, first.vector)
    assert site.pages.counts.first_views == 1


def test_without_time_to_encode_facts_are_pending_and_the_next_view_has_the_vector(site):
    late = site.read(text=TEXT, time_left=0.0)
    assert late.pending
    assert late.vector is None
    assert not late.suitability_known
    on_time = site.read(text=TEXT)
    assert not on_time.pending
    assert on_time.vector is not None
    assert on_time.suitability_known


def test_a_page_that_was_not_encoded_in_time_is_understood_whole_off_the_path(site):
    late = site.read(text=TEXT, time_left=0.0)
    site.work()
    facts = site.read(text=TEXT, time_left=0.0)
    assert facts.better
    assert not facts.pending
    assert facts.suitability_known
    assert not late.suitability_known


def test_one_slow_moment_does_not_end_encoding(world):
    class Slow:
        id, dim = world.encoder.id, world.encoder.dim

        def __init__(self):
            self.takes = 0.004

        def encode(self, texts, tokens=64):
            site.ticker.now += self.takes
            return world.encoder.encode(texts)

    encoder = Slow()
    site = Site(world, encoder=encoder)
    for number in range(20):
        encoder.takes = 0.15 if number == 10 else 0.004
        facts = site.read(text=f"{TEXT} {number}", time_left=0.05)
        assert facts.vector is not None, number


def test_an_encoder_that_always_takes_too_long_is_not_waited_for(world):
    class Slow:
        id, dim = world.encoder.id, world.encoder.dim

        def encode(self, texts, tokens=64):
            site.ticker.now += 0.2
            return world.encoder.encode(texts)

    site = Site(world, encoder=Slow())
    late = [site.read(text=f"{TEXT} {number}", time_left=0.05).pending for number in range(100)]
    assert sum(late) > 80


def test_a_failing_encoder_costs_the_vector_and_quotes_nothing(world, caplog):
    encoder = Faulty(world.encoder)
    site = Site(world, encoder=encoder)
    with caplog.at_level(logging.DEBUG):
        facts = site.read(text=TEXT)
        site.work()
    assert facts.pending
    assert site.pages.counts.failed
    assert "peloton" not in caplog.text
    encoder.broken = False
    assert site.read(text=TEXT).vector is not None


def test_two_threads_read_a_page_once(world):
    entered, go_on, texts = threading.Event(), threading.Event(), []

    class Waiting:
        id, dim = world.encoder.id, world.encoder.dim

        def encode(self, given, tokens=64):
            texts.extend(given)
            entered.set()
            assert go_on.wait(20)
            return world.encoder.encode(given)

    site, found = Site(world, encoder=Waiting()), []
    home = world.view.snapshot.publishers["planet"]

    def view():
        found.append(site.pages.facts(site.visit(text=TEXT), home, site.ticker.now + 20))

    threads = [threading.Thread(target=view) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(texts) == 1
    assert len(found) == 3
    assert all(facts is found[0] for facts in found)


# --- other languages ---


def test_a_page_in_another_language_is_known_by_the_names_of_its_stated_topics(site, world):
    facts = site.read(text=GERMAN, language="de", categories=(CYCLING,))
    assert facts.language == "de"
    name = world.encoder.encode([site.pages.model.taxonomy.path(CYCLING)])[0]
    np.testing.assert_allclose(facts.vector, name, atol=1e-6)
    assert any("names of its stated topics" in note for note in facts.notes)
    assert not facts.suitability_known
    site.work()
    assert site.texts == []  # there is no better vector of what cannot be read
    assert site.read(text=GERMAN, language="de", categories=(CYCLING,)) is facts


def test_a_page_in_another_language_without_topics_has_no_vector(site):
    facts = site.read(text=GERMAN)
    assert facts.language == "de"
    assert facts.vector is None
    assert not facts.pending
    assert any("language 'de'" in note for note in facts.notes)


def test_the_publishers_own_categories_name_the_topics_in_any_case_of_letters(site, world):
    world.put(publisher(categories={"Radsport": CYCLING}))
    facts = site.read(text=GERMAN, language="de", keywords=("RADSPORT",))
    assert CYCLING in {topic.id for topic in facts.topics}
    assert facts.vector is not None


def test_a_few_words_that_may_be_of_any_language_keep_their_vector(site):
    facts = site.read(title="girls coats")
    assert facts.vector is not None


def test_stated_topics_alone_make_a_page(site):
    facts = site.read(url="https://planet.example/a", categories=(CYCLING,))
    assert facts.vector is not None
    assert CYCLING in {topic.id for topic in facts.topics}


# --- confidence ---


@pytest.mark.parametrize(
    ("title", "expected"),
    [("a", 1 / 6), ("rain rain rain rain rain rain", 1 / 6), ("one two three", 0.5), (TEXT, 1.0)],
)
def test_few_different_words_are_trusted_less(site, title, expected):
    assert site.read(title=title[:200]).confidence == pytest.approx(expected)


def test_scripts_without_spaces_count_their_signs(site):
    assert site.read(title="最新のスマートフォンの比較", language="en").confidence == 1.0


def test_signs_without_words_are_no_page(site):
    facts = site.read(title="!!! ??? ...")
    assert facts.vector is None
    assert not facts.pending


# --- what a URL means ---


def test_a_servers_call_defines_what_a_url_means_and_a_browsers_does_not(site):
    url = "https://planet.example/sport/bikes"
    site.read(url=url, text="one reader's page about whatever that reader wrote")
    assert site.read(url=url).vector is None
    told = site.read(url=url, text=TEXT, trusted=True)
    assert site.read(url=url) is told
    site.read(url=url, text="another reader's page about something else again")
    assert site.read(url=url) is told


def test_a_url_means_nothing_to_another_publisher(site):
    url = "https://planet.example/sport/bikes"
    site.read(url=url, text=TEXT, trusted=True)
    assert site.read(url=url, publisher="gazette").vector is None


def test_a_url_with_a_masked_part_is_never_defined_or_looked_up(world):
    asked = []

    def fetch(url, domains):
        asked.append(url)
        return read(PageInput(text=TEXT))

    site = Site(world, fetch=fetch)
    url = "https://gazette.example/of/jane.doe@mail.example/letters"
    site.read(url=url, text=TEXT, trusted=True, publisher="gazette")
    assert site.read(url=url, publisher="gazette").vector is None
    site.pages.poll()
    site.work()
    assert asked == []
    assert list(world.store.page_urls()) == []


def test_a_registered_page_is_fetched_once_and_anew_when_other_phrases_are_looked_for(world):
    asked = []

    def fetch(url, domains):
        asked.append(domains)
        return read(PageInput(text=TEXT))

    site = Site(world, fetch=fetch)
    url = "https://gazette.example/sport"
    for _ in range(3):
        site.read(url=url, publisher="gazette")
    site.work()
    assert asked == [("gazette.example",)]
    facts = site.read(url=url, publisher="gazette")
    assert facts.better
    assert facts.suitability_known
    assert facts.keyphrases == ()
    site.ticker.now += 1
    site.pages.use_phrases(frozenset({"breakaway"}))
    site.ticker.now += 601
    site.read(url=url, publisher="gazette")
    site.work()
    assert site.read(url=url, publisher="gazette").keyphrases == ("breakaway",)
    assert len(asked) == 2


def test_a_fetch_that_fails_is_counted_and_not_repeated_at_every_view(world, caplog):
    asked = []

    def fetch(url, domains):
        asked.append(url)
        raise FetchError("no_answer", f"{url}: no answer")

    site = Site(world, fetch=fetch)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            facts = site.read(url="https://gazette.example/sport", publisher="gazette")
            site.work()
    assert facts.vector is None
    assert len(asked) == 1
    assert site.pages.counts.fetches_failed == 1
    assert "gazette.example" not in caplog.text


# --- phrases ---


def test_a_rules_phrase_is_found_whatever_its_case_also_in_pages_that_were_seen_before(site, world):
    assert site.read(text=TEXT).keyphrases == ()
    world.put(campaign("wheels", targeting=Targeting(keywords=Rule(include=("Wet  Roads",)))))
    world.put(creative("wheels-1", "wheels"))
    site.pages.use_phrases(frozenset(world.view.snapshot.manifest.phrases))
    assert site.read(text=TEXT).keyphrases == ("wet roads",)
    assert "wheels-1" in site.shown(text=TEXT)
    assert "wheels-1" not in site.shown(text="A quiet page about soup and bread and butter and cheese")


def test_a_decision_made_before_the_phrases_came_does_not_stick(site, world):
    world.put(campaign("wheels", targeting=Targeting(keywords=Rule(include=("wet roads",)))))
    world.put(creative("wheels-1", "wheels"))
    assert "wheels-1" not in site.shown(text=TEXT)  # the snapshot is in service, its phrases not yet
    site.pages.use_phrases(frozenset(world.view.snapshot.manifest.phrases))
    assert "wheels-1" in site.shown(text=TEXT)


# --- what is kept ---


def held(word):
    """Say whether a page's text with this word is in memory."""
    return any(type(o) in (PageText, PageInput) and word in str(o) for o in gc.get_objects())


def test_text_is_gone_when_its_time_is_up(site):
    site.read(text=TEXT)
    assert held("peloton")  # it waits for the better vector
    site.ticker.now += 60
    site.pages.background.expire()
    gc.collect()
    assert not held("peloton")


def test_no_text_is_written(site, world):
    site.read(title="Zwirbelhaft", text=TEXT, url="https://planet.example/secretpath", trusted=True)
    site.work()
    site.pages.poll()
    assert [facts.better for _, facts in world.store.pages_since(0)] == [True]
    written = b"".join(p.read_bytes() for p in world.folder.glob("world.db*"))
    for word in (b"peloton", b"breakaway", b"Zwirbelhaft", b"zwirbelhaft"):
        assert word not in written


def test_a_flood_of_pages_keeps_no_more_than_there_is_room_for(world):
    site = Site(world, most=40)
    for number in range(100):
        site.read(text=f"{TEXT} {number}")
    assert len(site.pages.known()) <= 40


# --- several workers, and a store that fails ---


def test_workers_learn_facts_and_urls_from_each_other(world):
    one, two = Site(world), Site(world)
    url = "https://planet.example/sport/bikes"
    told = one.read(url=url, text=TEXT, trusted=True)
    one.pages.poll()
    two.pages.poll()
    assert two.read(url=url).content_hash == told.content_hash
    # A URL that comes to mean what is known already is learned too, though no facts are new.
    one.read(url=url + "-again", text=TEXT, trusted=True)
    one.pages.poll()
    two.pages.poll()
    assert two.read(url=url + "-again").content_hash == told.content_hash


def test_another_workers_better_vector_does_not_bring_its_phrases_along(world):
    one, two = Site(world), Site(world)
    two.read(text=TEXT)
    two.work()
    one.pages.use_phrases(frozenset({"breakaway"}))
    assert one.read(text=TEXT).keyphrases == ("breakaway",)
    two.pages.poll()
    one.pages.poll()
    facts = one.read(text=TEXT)
    assert facts.better
    assert facts.keyphrases == ("breakaway",)


def test_what_was_learned_before_a_restart_is_known_after_it(world):
    site = Site(world)
    url = "https://planet.example/sport/bikes"
    site.read(url=url, text=TEXT, trusted=True)
    site.work()
    site.pages.poll()
    again = Site(world)
    again.pages.load()
    assert again.read(url=url).better
    assert again.read(text=TEXT, time_left=0.0).better  # no time is needed: the vector is known


class Away:
    """A store that is away as long as it is told to be."""

    def __init__(self, store):
        self.store, self.away = store, True

    def __getattr__(self, name):
        if self.away:
            raise StoreError("the store is away")
        return getattr(self.store, name)


def test_what_the_store_did_not_take_is_kept_for_the_next_poll(world):
    store = Away(world.store)
    site = Site(world, store=store)
    url = "https://planet.example/sport/bikes"
    site.read(url=url, text=TEXT, trusted=True)
    for _ in range(3):
        with pytest.raises(StoreError):
            site.pages.poll()
    store.away = False
    site.pages.poll()
    assert len(world.store.pages_since(0)) == 1
    assert len(list(world.store.page_urls())) == 1


def test_polling_reads_only_what_is_new(world, monkeypatch):
    site = Site(world)
    site.read(url="https://planet.example/a", text=TEXT, trusted=True)
    site.pages.poll()
    world.now += timedelta(minutes=5)
    site.pages.poll()
    read_urls, seen = world.store.page_urls, []
    monkeypatch.setattr(world.store, "page_urls", lambda since: seen.extend(read_urls(since)) or ())
    world.now += timedelta(minutes=5)
    site.pages.poll()
    assert seen == []
