"""Understanding pages: topics, flags, intents and what is said when little can be known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from contexts.context import SENSITIVE, EncoderId, PageFacts, TopicId, Vector
from contexts.errors import DataError
from contexts.extract import read
from contexts.lexicon import our_lexicon, read_lexicon
from contexts.page import NOTHING, STATED_SCORE, TopicModel, understand
from contexts.taxonomy import content_taxonomy
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import PageInput

LABELLED = Path(__file__).parent.parent / "data" / "sensitive"


class WordEncoder:
    """A bag of words in 256 dimensions: knows which words two texts share, and nothing of their sense."""

    id = EncoderId("words-256")
    dim = 256

    def __init__(self) -> None:
        self.texts = 0

    def encode(self, texts: Sequence[str]) -> Vector:
        self.texts += len(texts)
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", " ").replace(",", " ").split():
                seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
                rows[row] += np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(norms == 0, 1, norms), dtype=np.float32)


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="module")
def model(encoder: WordEncoder) -> TopicModel:
    return TopicModel.build(encoder, content_taxonomy())


def facts(model: TopicModel, page: PageInput, with_vector: bool = True, **stated: object) -> PageFacts:
    text = read(page)
    vector = WordEncoder().encode([text.for_encoder()])[0] if with_vector else None
    vocabulary = model.vocabulary(["mountain bike", "trail mix"])
    return understand(text, vector, model, vocabulary, **stated)  # type: ignore[arg-type]


def first_tier(found: PageFacts) -> str | None:
    taxonomy = content_taxonomy()
    return next((t.name for t in found.topics if not taxonomy.ancestors(t.id)), None)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("How to fix a leaking tap: close the stopcock and replace the rubber.", "280"),
        ("Free spins without a deposit, and this week's bookmakers.", "181"),
        ("A cancelled flight and one cabin bag: what your boarding pass still gets you.", "672"),
        ("Knitting a first jumper: yarn, needles, purl rows.", "253"),
        ("Chain free, offers over 325,000: three-bedroom house with a garage.", "451"),
    ],
)
def test_tips_shops_and_small_ads_are_known_by_their_words(model: TopicModel, text: str, topic: str) -> None:
    cues = model.cues(read(PageInput(text=text)), model.vocabulary([]), english=True)
    assert cues.topics.get(topic, 0.0) >= 2.0  # two of them are strong, or a strong one is repeated


def test_a_word_that_strays_into_a_long_page_says_less_of_its_topic(model: TopicModel) -> None:
    def said(text: str) -> float:
        return model.cues(read(PageInput(text=text)), model.vocabulary([]), english=True).topics.get("1", 0.0)

    strange = "The conjugate of each entry equals its transpose, so that eigenvalues are real. "
    assert said("Mechanics at work.") == said(f"Mechanics. {strange * 5}") == 1.0
    assert 0 < said(f"Mechanics. {strange * 50}") < 0.65  # too weak to stand alone


def test_a_page_has_its_topics_best_first_with_their_first_tier(model: TopicModel) -> None:
    found = facts(
        model,
        PageInput(
            title="The best mountain bikes, tested",
            text="We rode six bicycles on gravel: frames, gears. Cyclists need a good derailleur.",
        ),
    )
    assert {"483", "492"} <= {t.id for t in found.topics}
    scores = [t.score for t in found.topics]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert found.language == "en"
    assert found.suitability_known


@pytest.mark.parametrize("with_vector", [True, False])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("England cricket captain loses a wicket; the bowler and batsman shake hands", "Sports"),
        ("Python and javascript: a compiler for open source programmers", "Technology & Computing"),
        ("Preheat the oven, chop garlic and onions and simmer the sauce", "Food & Drink"),
        ("Mortgage rates and credit cards: how to repay and save in a savings account", "Personal Finance"),
        ("Our travel guide: itinerary, hotels, passport and sightseeing for tourists", "Travel"),
        ("The novelist's paperback is a literary bestseller, say book reviews", "Books and Literature"),
    ],
)
def test_cues_tell_first_tiers_with_a_vector_and_without(
    model: TopicModel, text: str, name: str, with_vector: bool
) -> None:
    assert first_tier(facts(model, PageInput(text=text), with_vector)) == name


@pytest.mark.parametrize(
    "text", ["asdf qwer zxcv", "Log in or create an account", "Lorem ipsum dolor sit amet", "???"]
)
def test_a_page_about_nothing_has_no_topics(model: TopicModel, text: str) -> None:
    assert facts(model, PageInput(text=text, language="en")).topics == ()


def test_how_surely_a_page_is_about_nothing_is_read_and_not_told(model: TopicModel) -> None:
    text = "Log in or create an account"
    vector = WordEncoder().encode([text])[0]
    assert model.topics(vector, {})[NOTHING] > 0.5
    assert facts(model, PageInput(text=text, language="en")).topics == ()


def test_one_ambiguous_word_makes_no_topic(model: TopicModel) -> None:
    for text in ("python", "apple", "jaguar", "the bank", "java", "amazon", "crash", "cricket", "model"):
        found = facts(model, PageInput(title=text, language="en"), with_vector=False)
        assert found.topics == (), text
        assert not found.sensitive, text


def test_a_harmless_phrase_hides_the_cue_inside_it(model: TopicModel) -> None:
    for text in (
        "The shooting guard and the killer app, a bomb cyclone and devil's food cake",
        "A murder mystery dinner for Black Friday; the stock market crash and a crash course",
        "Drop-dead gorgeous; shooting stars; a first-person shooter; wine vinegar",
        "Great tits, blue tits and a bishop pair; rifling through paint strippers and concrete vibrators",
        "Kinky hair, a scaffolding erection, earthquake-proof straps and a troop of baboons",
    ):
        found = facts(model, PageInput(text=text, language="en"), with_vector=False)
        assert found.sensitive | found.special == frozenset(), text


def test_words_in_harmless_phrases_raise_no_flag_by_the_vector_that_they_drew(model: TopicModel) -> None:
    arms = [example.text for example in our_lexicon(content_taxonomy()).examples if "arms" in example.flags]
    drawn = WordEncoder().encode([" ".join(arms)])[0]

    def flagged(text: str) -> bool:
        page = read(PageInput(text=text, language="en"))
        return "arms" in understand(page, drawn, model, model.vocabulary([])).sensitive

    assert not flagged("Rifle through the sales racks.")
    assert flagged("See what is on the sales racks.")
    assert flagged("Rifle through the sales racks for ammunition.")
    assert flagged("Rifle through the sales racks. " + "What is there is told by what is on them. " * 8)


def test_words_in_harmless_phrases_speak_for_no_special_category(model: TopicModel) -> None:
    drawn = WordEncoder().encode(["Cancer patients, chemotherapy and tumours; the oncologist's clinic."])[0]
    page = read(PageInput(text="The moon in Cancer.", language="en"))
    assert "health" not in understand(page, drawn, model, model.vocabulary([])).special


def test_a_harmless_phrase_speaks_for_its_own_topic(model: TopicModel) -> None:
    page = read(PageInput(text="Call of Duty, a first-person shooter"))
    cues = model.cues(page, model.vocabulary([]), english=True)
    assert cues.topics["680"] >= 2.0
    assert not (cues.flags > 0).any()


def test_a_headline_without_a_text_says_its_words_once(model: TopicModel) -> None:
    def cues(page: PageInput) -> list[float]:
        return list(model.cues(read(page), model.vocabulary([]), english=True).flags)

    headline = "Stabbing in the dark: how to guess a vintage"
    assert cues(PageInput(title=headline)) == pytest.approx(cues(PageInput(text=headline)), abs=0.01)
    assert max(cues(PageInput(title=headline, text="Taste."))) > max(cues(PageInput(title=headline)))


@pytest.mark.parametrize("topic", ["483", NOTHING])
def test_a_stray_cue_makes_an_ordinary_page_special_sooner_than_unsuitable(
    model: TopicModel, topic: str
) -> None:
    """A reader is harmed by what is missed of Article 9; beside the rest, a campaign is but seen."""
    ordinary = {TopicId(topic): 1.0}
    vector = np.zeros(256, dtype=np.float32)
    no_cues = np.zeros(len(SENSITIVE) + len(SPECIAL_CATEGORIES))
    least = {
        flag: next(
            much
            for much in np.arange(0.0, 3.0, 0.01)
            if flag in model.flags(vector, no_cues + much, ordinary)
        )
        - next(much for much in np.arange(-3.0, 3.0, 0.01) if flag in model.flags(vector, no_cues + much, {}))
        for flag in ("crime", "health")
    }
    assert least["crime"] == pytest.approx(1.0, abs=0.02)  # one strong cue
    assert least["health"] == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    "text",
    [
        "Immune cells that taste parasites in the lungs",
        "Zebra mussels, invaders of the lake",
        "Keep vermin out of the compost",
        "Fish infected with worms",
    ],
)
def test_a_word_of_harm_and_of_nature_alone_speaks_for_no_harm(model: TopicModel, text: str) -> None:
    cues = model.cues(read(PageInput(title=text)), model.vocabulary([]), english=True)
    assert not (cues.flags > 0).any()


COOKING = "Chop the onions, simmer the sauce and slice the bread while the oven warms up slowly. "


@pytest.mark.parametrize("with_vector", [True, False])
def test_a_cue_makes_a_headline_sensitive_and_not_a_long_page(model: TopicModel, with_vector: bool) -> None:
    headline = "Two kilos of heroin and cocaine found in lorry."
    assert "drugs" in facts(model, PageInput(text=headline, language="en"), with_vector).sensitive
    long = PageInput(text=COOKING * 15 + headline + COOKING * 15, language="en")
    assert "drugs" not in facts(model, long, with_vector).sensitive


@pytest.mark.parametrize("with_vector", [True, False])
@pytest.mark.parametrize("place", ["title", "description"])
@pytest.mark.parametrize(
    ("headline", "flag"),
    [
        ("Student dies after taking pills that she bought online; coroner warns of them", "conflict"),
        ("Slain officer's son given bear made of his uniform", "conflict"),
        ("Two kilos of heroin and cocaine found in lorry", "drugs"),
    ],
)
def test_a_page_is_as_sensitive_as_its_heading_alone_however_long_it_is(
    model: TopicModel, with_vector: bool, place: str, headline: str, flag: str
) -> None:
    for text in (None, "The family of four lives by the harbour and bakes its own bread. " * 60):
        said = {"title": "News", "text": text, place: headline}
        page = PageInput(language="en", **said)  # type: ignore[arg-type]  # each of its own type
        assert flag in facts(model, page, with_vector).sensitive


@pytest.mark.parametrize("with_vector", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "The goalkeeper's widow speaks of the season after he took his own life, and of his club and the fans.",
        "She wanted to end her life at school. A coach saw it, and today she runs the team's helpline.",
        "The chef had killed himself in the restaurant's cellar. His recipes live on in a book by his sister.",
        "Search ends at dawn: divers recovered the body of the sailor below the harbour wall.",
    ],
)
def test_a_phrase_of_one_meaning_is_enough_whatever_else_a_short_text_speaks_of(
    model: TopicModel, text: str, with_vector: bool
) -> None:
    assert "conflict" in facts(model, PageInput(text=text, language="en"), with_vector).sensitive


@pytest.mark.parametrize("with_vector", [True, False])
def test_a_phrase_of_one_meaning_at_the_end_of_a_long_page_is_not_what_that_is_about(
    model: TopicModel, with_vector: bool
) -> None:
    long = "Plant the tulips in autumn and water them well. The garden needs compost and a spade. " * 40
    page = PageInput(text=long + "Its first gardener took his own life.", language="en")
    assert "conflict" not in facts(model, page, with_vector).sensitive


@pytest.mark.parametrize("with_vector", [True, False])
def test_a_long_page_full_of_cues_is_sensitive(model: TopicModel, with_vector: bool) -> None:
    report = (
        "The cartel ships cocaine and heroin through the port. Fentanyl and methamphetamine follow, and the "
        "clinic that treats opioid users counts more of them who take ecstasy, ketamine or cannabis as well. "
        "Dealers sell LSD, hashish and magic mushrooms by phone; narcotics officers lag behind. "
    )
    page = PageInput(text=(report + "Nobody in the quiet street by the harbour says a word of it. ") * 8)
    assert "drugs" in facts(model, page, with_vector).sensitive


@pytest.mark.parametrize("with_vector", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "Tasting notes: five pinot noirs from small vineyards, and a sommelier's advice",
        "Pressing day at the cider orchard: the yeast does the rest, says the brewer",
        "How to mix a negroni: gin, vermouth and a slice of orange",
    ],
)
def test_wine_and_cider_are_food_and_no_drugs(model: TopicModel, text: str, with_vector: bool) -> None:
    found = facts(model, PageInput(text=text, language="en"), with_vector)
    assert "drugs" not in found.sensitive


@pytest.mark.parametrize(
    ("headline", "category"),
    [
        ("Iftar at the town hall", "religion"),
        ("Meningitis vaccine for students", "health"),
        ("The maternity ward closes", "reproductive_health"),
        ("Irish travellers and the council", "ethnicity"),
        ("Same-sex marriage, ten years on", "sexuality"),
        ("The attorney general resigns", "politics"),
        ("Binge drinking at forty", "addiction"),
    ],
)
def test_a_word_of_one_meaning_makes_a_headline_of_its_category(
    model: TopicModel, headline: str, category: str
) -> None:
    assert category in facts(model, PageInput(title=headline, language="en"), with_vector=False).special


def test_the_harm_of_drinking_counts_as_drugs(model: TopicModel) -> None:
    text = "Binge drinking and alcohol poisoning send more students to hospital"
    assert "drugs" in facts(model, PageInput(text=text, language="en"), with_vector=False).sensitive


def test_a_text_without_letters_is_not_read(model: TopicModel) -> None:
    found = facts(model, PageInput(text="12345 ??? ... 67", language="en"))
    assert not found.topics
    assert not found.suitability_known


def test_the_publishers_categories_and_stated_ids_are_all_but_sure(model: TopicModel) -> None:
    page = PageInput(text="Something happened somewhere.", keywords=("Radsport",), language="en")
    found = facts(model, page, categories=["216"], publisher_categories={"radsport": "492", "x": "no such"})
    told = {t.id: t.score for t in found.topics}
    assert all(told[topic] >= STATED_SCORE for topic in ("492", "483", "216", "210"))


def test_a_stated_sensitive_topic_raises_its_flag(model: TopicModel) -> None:
    found = facts(model, PageInput(text="A quiet page.", language="en"), categories=["8FD8nI", "314"])
    assert "terrorism" in found.sensitive
    assert "health" in found.special
    assert all(content_taxonomy().tier_1(t.id) != "v9i3On" for t in found.topics)


def test_a_topic_of_article_9_is_not_read_into_a_page_on_what_its_siblings_share(model: TopicModel) -> None:
    genres = {TopicId(topic): 0.9 for topic in ("685", "686", "687", "689")}
    adult = TopicId("MQ2XML")
    assert model.special_of(genres | {adult: 0.7}, {}) == frozenset()
    assert model.special_of(genres | {adult: 0.95}, {}) == {"sexuality"}
    assert model.special_of({TopicId("685"): 0.9, TopicId("686"): 0.9, adult: 0.7}, {}) == {"sexuality"}
    assert model.special_of(
        {TopicId(t): 0.99 for t in ("1", "42", "52", "483")} | {TopicId("453"): 0.7}, {}
    ) == {"religion"}


def test_a_topic_of_article_9_that_a_page_names_counts_among_likelier_siblings(model: TopicModel) -> None:
    scores = {TopicId(topic): 0.9 for topic in ("400", "401", "402")} | {TopicId("399"): 0.7}
    assert model.special_of(scores, {}) == frozenset()
    assert model.special_of(scores, {"399": 1.0}) == {"health"}
    assert model.special_of(scores, {"399": 0.4}) == frozenset()  # one weak word names nothing


def test_sports_of_disabled_people_are_known_by_their_words(model: TopicModel) -> None:
    for text in ("Wheelchair basketball finals", "Paralympic swimmer wins gold", "Adaptive skiing clubs"):
        cues = model.cues(read(PageInput(text=text)), model.vocabulary([]), english=True)
        assert cues.topics["494"] >= 1.0


def test_a_topic_of_article_9_that_is_stated_counts_whatever_else_was_read(model: TopicModel) -> None:
    page = PageInput(
        title="Video games", text="Puzzle, action, adventure, role-playing video games.", language="en"
    )
    assert "sexuality" in facts(model, page, categories=["MQ2XML"]).special


def test_a_page_in_another_language_has_the_publishers_topics_and_says_so(model: TopicModel) -> None:
    page = PageInput(
        title="Die besten Fahrräder im Test",
        text="Wir haben sechs Fahrräder auf Schotter und im Wald gefahren und sagen, welches sich lohnt.",
        keywords=("Radsport", "mountain bike"),
    )
    found = facts(model, page, publisher_categories={"radsport": "492"})
    assert found.language == "de"
    assert {t.id for t in found.topics} == {"483", "492"}
    assert found.notes == ("language 'de': topics from the publisher's categories; suitability unknown",)
    assert not found.suitability_known
    assert found.intent is None
    assert found.keyphrases == ("mountain bike",)


def test_a_multilingual_encoder_is_trusted_with_other_languages(encoder: WordEncoder) -> None:
    model = TopicModel.build(encoder, content_taxonomy(), languages=None)
    found = facts(model, PageInput(text="Preheat the oven and simmer the sauce with garlic", language="de"))
    assert found.suitability_known
    assert found.notes == ()


def test_an_empty_page_is_unknown(model: TopicModel) -> None:
    found = facts(model, PageInput(url="https://news.example/a"))
    assert found.topics == ()
    assert found.vector is None
    assert not found.suitability_known
    assert found.notes == ("no text to read",)


def test_without_a_vector_suitability_is_unknown(model: TopicModel) -> None:
    assert not facts(
        model, PageInput(text="Preheat the oven", language="en"), with_vector=False
    ).suitability_known


def test_keyphrases_come_from_closed_vocabularies_only(model: TopicModel) -> None:
    page = PageInput(
        text="Ada Lovelace rode her Mountain Bike to the cardiologist in Elm Street.", language="en"
    )
    assert facts(model, page).keyphrases == ("mountain bike",)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Buy now: add to cart, free shipping, order online today, in stock", "decision"),
        ("Review: pros and cons compared, a buying guide to the best", "consideration"),
        ("What is photosynthesis? An introduction to the history of botany explained", "awareness"),
    ],
)
def test_the_words_of_a_page_tell_its_intent(model: TopicModel, text: str, intent: str) -> None:
    assert facts(model, PageInput(text=text, language="en")).intent == intent


def test_cached_vectors_are_used_and_new_ones_given_back() -> None:
    encoder = WordEncoder()
    cached: dict[str, Vector] = {}
    one = TopicModel.build(encoder, content_taxonomy(), cached)
    encoded = encoder.texts
    assert len(cached) == 1
    two = TopicModel.build(encoder, content_taxonomy(), cached)
    assert encoder.texts == encoded
    page = PageInput(text="Preheat the oven and simmer the sauce with garlic", language="en")
    assert facts(one, page).topics == facts(two, page).topics


def test_a_cache_of_another_shape_is_not_used() -> None:
    encoder = WordEncoder()
    cached: dict[str, Vector] = {}
    TopicModel.build(encoder, content_taxonomy(), cached)
    key = next(iter(cached))
    cached[key] = cached[key][:10]
    encoded = encoder.texts
    TopicModel.build(encoder, content_taxonomy(), cached)
    assert encoder.texts == 2 * encoded


def test_equal_pages_have_equal_facts(model: TopicModel) -> None:
    page = PageInput(title="Bread", text="Preheat the oven; flour, salt, sourdough.", language="en")
    one, two = facts(model, page), facts(model, page)
    assert (one.topics, one.sensitive, one.special, one.intent) == (
        two.topics,
        two.sensitive,
        two.special,
        two.intent,
    )


def test_every_flag_is_taught_and_every_mark_is_known() -> None:
    lexicon = our_lexicon(content_taxonomy())
    flags = {flag for example in lexicon.examples for flag in example.flags}
    assert flags == {*SENSITIVE, *SPECIAL_CATEGORIES}
    with pytest.raises(DataError, match="line 1"):
        read_lexicon(["@ 483 +nonsense"], content_taxonomy())


def test_an_abbreviated_cue_stands_for_its_forms() -> None:
    lexicon = read_lexicon(["@ 483", "~ cycle*; carry*"], content_taxonomy())
    assert {
        "cycle",
        "cycles",
        "cycling",
        "cycled",
        "cycler",
        "carries",
        "carried",
    } <= lexicon.topic_cues.keys()


@pytest.mark.parametrize("half", ["dev", "held_out"])
def test_even_an_encoder_without_sense_flags_most_sensitive_texts(model: TopicModel, half: str) -> None:
    """Cue phrases must bear most of the load where the vector is poor."""
    rows = [json.loads(line) for line in (LABELLED / f"{half}.jsonl").read_text().splitlines()]
    wanted = hit = 0
    for row in rows:
        found = facts(model, PageInput(text=row["text"], language="en"))
        wanted += len(row["labels"])
        hit += len((found.sensitive | found.special) & set(row["labels"]))
    assert hit / wanted >= 0.85
