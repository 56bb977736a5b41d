"""What a page is about: topics, keyphrases, language, intent, and what a careful advertiser or a law minds.

Two kinds of evidence are weighed: the page's vector against examples that we wrote, and cue phrases of closed
vocabularies in its first words. A flag needs both, or much of one. Readers of the vectors are fitted when the
model is built, and judged on examples that they were fitted without, so that scores mean much the same for any
encoder.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np

from contexts.context import INTENTS, SENSITIVE, Intent, PageFacts, Risk, Topic, TopicId, Vector
from contexts.encode import Encoder
from contexts.extract import PageText
from contexts.keyphrases import Tokenizer, Vocabulary
from contexts.language import LanguageDetector
from contexts.lexicon import Example, Lexicon, our_lexicon
from contexts.readers import Floats, fit, fit_logistic, fit_temperature, fit_threshold, softmax
from contexts.senses import Senses
from contexts.taxonomy import CATTAX_CONTENT_3_1, Taxonomy, stated_topics
from privacy.special_categories import SPECIAL_CATEGORIES

ENGLISH = frozenset({"en"})
READ_WORDS = 600  # what stands further down a page is not looked at for cues
MAX_TOPICS = 12
STATED_SCORE = 0.97  # a topic that the publisher states is all but sure

_MIN_TIER_1 = 0.15
_MIN_LOWER = 0.30
_LOWER_RESERVE = 1.5  # log-odds: a sibling of the right topic is as near as chance allows, but seldom meant
_IMPLIES_SPECIAL = 0.60  # an inferred topic that a special category lists counts from here
_SIBLINGS = 2  # likelier than a topic: so many, and the page is hardly about it of all
_NAME_WEIGHT = 0.35  # a topic's bare name teaches less than a sentence does
_CUE_LOGIT = 0.9  # what one strong cue adds to a topic's log-odds
_CUE_CAP = 3.0
_LONELY = 0.65  # a weak cue on its own, be it in the title
_TITLE_FACTOR = 1.5  # of what a title says of the text below it; a headline alone says it once
_NONE_LOGIT = 2.0  # without a vector, cues must beat this log-odds of "about nothing that we know"
_FLAG_BETA = 1.25  # a sensitive page missed costs more than a harmless one flagged
_FLAG_SPREADS = 2.0  # a strong cue makes up for a vector that falls so many spreads short
_FLAG_ORDINARY = 1.5  # so many spreads a page is farther from any flag that is surely about football or soup
_FLAG_STRAY = 2.0  # and from what is but unsuitable: as many as one stray cue brings it nearer
_FLAG_CUES_ALONE = 2.5  # so many strong cues need no vector, and stand against it
_FLAG_CUES_BLIND = 0.8  # where there is no vector, one in a short text is enough
_STRAY_CUES = 0.5  # so many of one flag stand in 100 words of any page, whatever it is about
_SHORT_WORDS = 60  # a longer page must say more to be about a thing that is minded
_LONG_WORDS = 200  # and one longer than that, to be about any: "mechanics" strays into mathematics
_UNTAUGHT = frozenset(
    {SENSITIVE["adult"], "v9i3On", "SPSHQ5"}
)  # flags are read apart; Genres say how, not what
# Crime, Disasters, Law, Politics, Medical Health, Religion & Spirituality, War and Conflicts
_GRAVE = frozenset({"380", "381", "383", "386", "286", "453", "389"})
_MEDIUM_FROM, _HIGH_FROM = 1.0, 3.0  # spreads beyond what raises a flag: it is touched, told of, all about it
# What has no manner in which it is fit to be sold beside, once a page is all about it.
_FLOOR = frozenset({"adult", "hate", "piracy", "spam", "terrorism"})
NOTHING = TopicId("")  # in particular
_FLAGS = (*SENSITIVE, *SPECIAL_CATEGORIES)
# A special category missed harms a reader: there, stray words may raise a flag.
_FLAG_NEEDS = np.array([_FLAG_STRAY] * len(SENSITIVE) + [_FLAG_ORDINARY] * len(SPECIAL_CATEGORIES))
_NO_FLAGS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Cues:
    """What the phrases of a text speak for, with how strongly, and which closed phrases occur."""

    topics: Mapping[str, float]
    flags: Floats  # (flags,): by how much they exceed what strays into any page
    intents: Mapping[str, float]
    phrases: tuple[str, ...]
    hidden: frozenset[str]  # flags whose words a short text has in harmless phrases alone


class TopicModel:
    """Reads pages in the space of one encoder. Immutable once built; calls may run at once."""

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        taxonomy: Taxonomy,
        cached: MutableMapping[str, Vector] | None = None,
        *,
        lexicon: Lexicon | None = None,
        languages: frozenset[str] | None = ENGLISH,
    ) -> TopicModel:
        """Encode the examples in one batch, or take their vectors from `cached`, and fit the readers.

        `cached` maps a digest of encoder and examples to their vectors; new ones are put into it, for the
        caller to keep. `languages` are those that the encoder understands, None for all.
        """
        lexicon = lexicon or our_lexicon(taxonomy)
        examples = [*lexicon.examples, *_names(taxonomy)]
        digest = hashlib.blake2b(digest_size=16)
        for part in (encoder.id, *(example.text for example in examples)):
            digest.update(part.encode() + b"\0")
        key = digest.hexdigest()
        vectors = cached.get(key) if cached is not None else None
        if vectors is None or vectors.shape != (len(examples), encoder.dim):
            vectors = encoder.encode([example.text for example in examples])
            if cached is not None:
                cached[key] = vectors
        return cls(encoder, taxonomy, lexicon, vectors, languages)

    def __init__(
        self,
        encoder: Encoder,
        taxonomy: Taxonomy,
        lexicon: Lexicon,
        vectors: Vector,
        languages: frozenset[str] | None,
    ) -> None:
        """Fit the readers on the (examples + topics, dim) vectors; `build` makes them."""
        self.encoder_id = encoder.id
        self.taxonomy = taxonomy
        self.languages = languages
        self.detector = LanguageDetector()
        self._tokenizer = Tokenizer()
        self._matcher = self._tokenizer.matcher(lexicon.phrases())
        self._lexicon = lexicon
        self._hides = {phrase: self._hidden_in(phrase) for phrase in lexicon.harmless}
        self._names = {node.name.lower() for node in taxonomy} - lexicon.common
        self._special = {
            topic: frozenset(
                flag
                for flag, category in SPECIAL_CATEGORIES.items()
                if not category.topics.isdisjoint((topic, *taxonomy.ancestors(topic)))
            )
            for topic in (node.id for node in taxonomy)
        }
        self._sensitive = {topic: flag for flag, topic in SENSITIVE.items()}
        examples = [*lexicon.examples, *_names(taxonomy)]
        x = np.asarray(vectors, dtype=np.float64)
        taught = np.where(np.arange(len(x)) < len(lexicon.examples), 1.0, _NAME_WEIGHT)
        count = len(lexicon.examples)
        self.senses = Senses(encoder, taxonomy, lexicon, _taught(lexicon.examples, vectors[:count]))
        ordinary = self._fit_tier_1s(x, examples, taught)
        self._fit_lower(x, examples)
        self._fit_flags(x, examples, taught, ordinary)
        self._fit_intents(x, examples)

    def vocabulary(self, phrases: Iterable[str]) -> Vocabulary:
        """Return a vocabulary of campaign keywords and brands to look for in pages."""
        return Vocabulary(self._tokenizer, phrases)

    def understands(self, language: str | None) -> bool:
        """Tell whether the encoder reads this language; an unknown language only if it reads all."""
        return self.languages is None or language in self.languages

    def cues(self, page: PageText, vocabulary: Vocabulary, english: bool) -> _Cues:
        """Look through the page's first words once; the cues are English, the vocabulary is what it is."""
        title = page.title.lower()
        body = page.text.split(None, READ_WORDS)[:READ_WORDS]
        text = "\n".join((page.title, page.description, ", ".join(page.keywords), " ".join(body)))
        head = f"{page.title}\n{page.description}"
        with self._tokenizer.reading(text) as doc:
            phrases = vocabulary.find(doc)
            found = _outermost(self._matcher.find(doc)) if english else {}
        topics: dict[str, float] = {}
        flags: dict[str, float] = {}
        heading: dict[str, float] = {}
        intents: dict[str, float] = {}
        hidden: set[str] = set()
        headed = self._tokenizer.length(head)
        words = len(text.split())
        length = math.sqrt(max(1.0, words / _LONG_WORDS))
        for phrase, (times, first) in found.items():
            hidden |= self._hides.get(phrase, _NO_FLAGS)
            if first < headed:
                for flag, weight in self._lexicon.flag_cues.get(phrase, {}).items():
                    heading[flag] = heading.get(flag, 0.0) + weight
            strength = (1.0 + 0.5 * math.log2(times)) * (_TITLE_FACTOR if body and phrase in title else 1.0)
            for known, kept, much in (
                (self._lexicon.topic_cues, topics, strength / length),
                (self._lexicon.flag_cues, flags, strength),
                (self._lexicon.intent_cues, intents, strength),
            ):
                for target, weight in known.get(phrase, {}).items():
                    kept[target] = kept.get(target, 0.0) + weight * much
        hidden = hidden - flags.keys() if words <= _SHORT_WORDS else set()
        names = tuple(phrase for phrase in found if phrase in self._names)
        excess = _excess(_in_company(flags), words)
        # A heading makes an article what it would be alone, however much follows it.
        alone = _excess(_in_company(heading), len(head.split()))
        excess = np.where(alone > 0, np.maximum(excess, alone), excess)
        return _Cues(topics, excess, intents, tuple(dict.fromkeys((*phrases, *names))), frozenset(hidden))

    def topics(self, vector: Vector | None, cues: Mapping[str, float]) -> dict[TopicId, float]:
        """Return each topic's probability where it is worth telling; first tiers and what lies under them.

        And under NOTHING, that the page is about nothing in particular: a form, a wall, an error.
        """
        first = self._tier_1_probabilities(vector, cues)
        scores = {topic: p for topic, p in first.items() if p >= _MIN_TIER_1}
        if vector is None:
            nearest = None
        else:
            centred = vector - self._mean
            nearest = np.maximum.reduceat(self._lower_rows @ centred, self._lower_starts) / np.linalg.norm(
                centred
            )
        for index, (topic, tier_1) in enumerate(self._lower):
            parent = first.get(tier_1, 0.0)
            if parent < _MIN_TIER_1:
                continue
            logit = min(cues.get(topic, 0.0), _CUE_CAP) * _CUE_LOGIT
            logit += (
                -_NONE_LOGIT if nearest is None else self._lower_slope * nearest[index] + self._lower_offset
            )
            score = parent / (1.0 + math.exp(_LOWER_RESERVE - logit))
            if score >= _MIN_LOWER:
                for told in (topic, *self.taxonomy.ancestors(topic)[:-1]):
                    scores[told] = max(scores.get(told, 0.0), score)
        return scores

    def flags(
        self, vector: Vector | None, excess: Floats, topics: Mapping[TopicId, float]
    ) -> dict[str, Risk]:
        """Return the flags that the vector and the `excess` of cues, (flags,), raise, each with its risk.

        An ordinary one among the topics that were read speaks against every flag: "killer" in a soup recipe. So
        does nothing in particular: to be asked to pay or to log in is no fraud.
        """
        if vector is None:
            raised, beyond = excess >= _FLAG_CUES_BLIND, excess - _FLAG_CUES_BLIND
        else:
            margins = self._flag_reader.scores(vector) / self._flag_spreads - self._flag_thresholds
            firsts = (topics.get(topic, 0.0) for topic in self._tier_1s if topic not in _GRAVE)
            need = _FLAG_NEEDS * max(firsts)
            beyond = margins + _FLAG_SPREADS * excess - need
            raised = (beyond >= 0) | (excess >= _FLAG_CUES_ALONE)
        return {
            flag: _risk(flag, much)
            for flag, said, much in zip(_FLAGS, raised, beyond.tolist(), strict=True)
            if said
        }

    def special_of(
        self, topics: Mapping[TopicId, float], cues: Mapping[str, float] | Mapping[TopicId, float]
    ) -> frozenset[str]:
        """Return the special categories that topics imply.

        Where two siblings are likelier, the page is about what they share: "video games", not those for adults;
        unless its `cues` name the topic.
        """
        return frozenset(
            flag
            for topic, score in topics.items()
            if score >= _IMPLIES_SPECIAL
            for flag in self._special[topic]
            if cues.get(topic, 0.0) >= _LONELY or self._likelier(topic, flag, topics) < _SIBLINGS
        )

    def _hidden_in(self, phrase: str) -> frozenset[str]:
        """Return the flags that words of a phrase speak for, were they alone: "cancer" in "cancer horoscope"."""
        with self._tokenizer.reading(phrase) as doc:
            found = {cue for cue, _, _ in self._matcher.find(doc)} - self._lexicon.harmless
        return frozenset(flag for cue in found for flag in self._lexicon.flag_cues.get(cue, {}))

    def _likelier(self, topic: TopicId, flag: str, topics: Mapping[TopicId, float]) -> int:
        """Return how many siblings of a topic, no first tier, are likelier than it and do not imply the flag."""
        above = self.taxonomy.ancestors(topic)[:1]
        return sum(
            score > topics[topic] and flag not in self._special[other]
            for other, score in topics.items()
            if above and self.taxonomy.ancestors(other)[:1] == above
        )

    def sensitive_of(self, topics: Iterable[TopicId]) -> frozenset[str]:
        """Return the flags of sensitive topics among these."""
        return frozenset(self._sensitive[topic] for topic in topics if topic in self._sensitive)

    def intent(self, vector: Vector | None, cues: Mapping[str, float]) -> Intent:
        """Return the stage of a purchase that the page speaks to; without evidence, awareness."""
        logits = np.array([min(cues.get(intent, 0.0), _CUE_CAP) * _CUE_LOGIT for intent in INTENTS])
        if vector is not None:
            logits = logits + self._intent_reader.scores(vector) * self._intent_scale
        return INTENTS[int(logits.argmax())]

    def _tier_1_probabilities(self, vector: Vector | None, cues: Mapping[str, float]) -> dict[TopicId, float]:
        strength: dict[str, float] = {}
        for topic, cue in cues.items():
            tier_1 = self.taxonomy.tier_1(TopicId(topic))
            strength[tier_1] = strength.get(tier_1, 0.0) + cue
        strength = _in_company(strength)
        logits = np.array([_CUE_LOGIT * min(strength.get(topic, 0.0), _CUE_CAP) for topic in self._tier_1s])
        if vector is None:
            logits[-1] = _NONE_LOGIT
        else:
            logits = logits + self._tier_1_reader.scores(vector) * self._tier_1_scale
        return dict(zip(self._tier_1s, softmax(logits).tolist(), strict=True))

    def _fit_tier_1s(self, x: Floats, examples: Sequence[Example], taught: Floats) -> Floats:
        """Fit the first tiers; return how surely each example (n,), were it unseen, is of an ordinary one."""
        self._tier_1s = [n.id for n in self.taxonomy if n.parent is None and n.id not in _UNTAUGHT] + [
            NOTHING
        ]
        column = {topic: i for i, topic in enumerate(self._tier_1s)}
        targets = np.zeros((len(examples), len(self._tier_1s)))
        for row, example in enumerate(examples):
            firsts = {self.taxonomy.tier_1(TopicId(t)) for t in example.topics} & column.keys()
            if not (example.topics or example.flags or example.intents):
                firsts = {NOTHING}
            for first in firsts:
                targets[row, column[first]] = 1.0 / len(firsts)
        use = targets.sum(axis=1) > 0
        share = (targets * taught[:, None]).sum(axis=0)
        balance = taught / np.sqrt((targets @ share) + 1e-9)
        balance /= balance[use].mean()
        self._tier_1_reader, unseen = fit(x[use], targets[use], balance[use])
        judged = taught[use] == 1.0
        truth = targets[use][judged].argmax(axis=1)
        self._tier_1_scale = fit_temperature(unseen[judged], truth)
        scores = x @ self._tier_1_reader.weights + self._tier_1_reader.offset  # those not in use are unseen
        scores[use] = unseen
        ordinary = [i for i, topic in enumerate(self._tier_1s) if topic not in _GRAVE and topic != NOTHING]
        return np.asarray(softmax(scores * self._tier_1_scale)[:, ordinary].max(axis=1))

    def _fit_lower(self, x: Floats, examples: Sequence[Example]) -> None:
        """Keep the rows of each lower topic, and fit how near its nearest row must be."""
        self._mean = x.mean(axis=0).astype(np.float32)
        centred = x - self._mean
        centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-9
        rows: dict[TopicId, list[int]] = {}
        for row, example in enumerate(examples):
            for topic in example.topics:
                if (
                    self.taxonomy.ancestors(TopicId(topic))
                    and self.taxonomy.tier_1(TopicId(topic)) not in _UNTAUGHT
                ):
                    rows.setdefault(TopicId(topic), []).append(row)
        self._lower = [(topic, self.taxonomy.tier_1(topic)) for topic in rows]
        order = [row for topic, _ in self._lower for row in rows[topic]]
        self._lower_starts = np.cumsum([0, *(len(rows[topic]) for topic, _ in self._lower)][:-1])
        self._lower_rows = centred[order].astype(np.float32)
        nearness, truth = [], []
        sims = centred @ centred[order].T
        sims[np.asarray(order), np.arange(len(order))] = -1.0  # no row is near itself
        nearest = np.maximum.reduceat(sims, self._lower_starts, axis=1)
        for row, example in enumerate(self._lexicon.examples):  # bare names resemble each other too much
            own = {self.taxonomy.tier_1(TopicId(t)) for t in example.topics}
            for index, (topic, tier_1) in enumerate(self._lower):
                if tier_1 in own and (topic not in example.topics or len(rows[topic]) > 1):
                    nearness.append(nearest[row, index])
                    truth.append(topic in example.topics)
        self._lower_slope, self._lower_offset = fit_logistic(np.array(nearness), np.array(truth))

    def _fit_flags(self, x: Floats, examples: Sequence[Example], taught: Floats, ordinary: Floats) -> None:
        truth = np.zeros((len(examples), len(_FLAGS)), dtype=bool)
        for row, example in enumerate(examples):
            implied = {flag for topic in example.topics for flag in self._special[TopicId(topic)]}
            implied |= self.sensitive_of(TopicId(t) for t in example.topics)
            for flag in example.flags | implied:
                truth[row, _FLAGS.index(flag)] = True
        weights = taught * np.where(truth.any(axis=1), 3.0, 1.0)  # harmless examples are far more
        self._flag_reader, unseen = fit(x, np.where(truth, 1.0, 0.0), weights)
        judged = taught == 1.0
        self._flag_spreads = np.array([unseen[judged & ~truth[:, i], i].std() for i in range(len(_FLAGS))])
        net = (unseen / self._flag_spreads - _FLAG_ORDINARY * ordinary[:, None])[judged]
        known = truth[judged]
        shared = fit_threshold(net.ravel(), known.ravel(), _FLAG_BETA)
        own = [fit_threshold(net[:, i], known[:, i], _FLAG_BETA) for i in range(len(_FLAGS))]
        # some thirty texts of a flag tell its own threshold badly, so half of it is that of all flags
        self._flag_thresholds = (np.array(own) + shared) / 2

    def _fit_intents(self, x: Floats, examples: Sequence[Example]) -> None:
        use = np.array([bool(example.intents) for example in examples])
        targets = np.array([[float(intent in e.intents) for intent in INTENTS] for e in examples])[use]
        self._intent_reader, unseen = fit(x[use], targets, np.ones(int(use.sum())))
        self._intent_scale = fit_temperature(unseen, targets.argmax(axis=1))


def understand(
    page: PageText,
    vector: Vector | None,
    model: TopicModel,
    vocabulary: Vocabulary,
    *,
    categories: Sequence[str] = (),
    cattax: int = CATTAX_CONTENT_3_1,
    publisher_categories: Mapping[str, str] | None = None,
    language: tuple[str | None, str | None] | None = None,
) -> PageFacts:
    """Return the facts of a page; `vector` is `page.for_encoder()` in the model's space, if it is to be had.

    `categories` are ids that the caller states; `publisher_categories` maps the publisher's own names, in
    lower case ("sport"), to ids of Content Taxonomy 3.1, and is looked up by section and keywords.
    `language` is what the model's detector decided of this page, where the caller has asked it already.
    """
    spoken, note = language or model.detector.decide(page.language, page.for_encoder())
    notes = [note] if note else []
    stated, unread = stated_topics(categories, cattax, model.taxonomy)
    notes.extend(unread)
    own = _own_topics(page, publisher_categories or {}, model.taxonomy)
    readable = not page.empty and model.understands(spoken)
    worded = readable and any(map(str.isalpha, page.for_encoder()))  # "???" has a vector, and no sense
    read_vector = vector if worded and vector is not None and bool(vector.any()) else None
    cues = model.cues(page, vocabulary, english=readable and spoken == "en")
    scores = model.topics(read_vector, cues.topics) if readable else {}
    flags = model.flags(read_vector, cues.flags, scores) if readable else {}
    flags = {flag: risk for flag, risk in flags.items() if flag not in cues.hidden}
    scores.pop(NOTHING, None)
    told_us = {t: STATED_SCORE for topic in stated | own for t in (topic, *model.taxonomy.ancestors(topic))}
    special = model.special_of(scores, cues.topics) - cues.hidden
    special |= model.special_of(told_us, cues=told_us)  # who states a topic names it
    for topic, sure in told_us.items():
        scores[topic] = max(scores.get(topic, 0.0), sure)
    if page.empty:
        notes.append("no text to read")
    elif not readable:
        source = "topics from the publisher's categories" if scores else "no topics, as none are stated"
        notes.append(f"language '{spoken or 'unknown'}': {source}; suitability unknown")
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    told = [(t, s) for t, s in best if model.taxonomy.tier_1(t) != "v9i3On"][:MAX_TOPICS]
    return PageFacts(
        content_hash=page.content_hash,
        encoder_id=model.encoder_id,
        vector=vector if not page.empty else None,
        topics=tuple(Topic(topic, model.taxonomy.name(topic), round(score, 3)) for topic, score in told),
        keyphrases=cues.phrases,
        language=spoken,
        intent=model.intent(read_vector, cues.intents) if readable else None,
        risks={flag: risk for flag, risk in flags.items() if flag in SENSITIVE},
        sensitive=frozenset(flags.keys() & SENSITIVE.keys()) | model.sensitive_of(scores),
        special=frozenset(flags.keys() & SPECIAL_CATEGORIES.keys()) | special,
        suitability_known=readable and read_vector is not None,
        notes=tuple(notes),
    )


def _names(taxonomy: Taxonomy) -> list[Example]:
    """Return each topic's name with those above it, as a sentence of sorts."""
    return [
        Example(
            ". ".join((node.name, *map(taxonomy.name, taxonomy.ancestors(node.id)))), frozenset({node.id})
        )
        for node in taxonomy
    ]


def _risk(flag: str, beyond: float) -> Risk:
    """Return how risky a page is by how far the evidence goes beyond what raises a flag, in spreads."""
    if beyond < _MEDIUM_FROM:
        return "low"
    if beyond < _HIGH_FROM:
        return "medium"
    return "floor" if flag in _FLOOR else "high"


def _taught(examples: Sequence[Example], vectors: Vector) -> dict[TopicId, Vector]:
    """Return the sum of the vectors of each topic's examples, flags being topics, too."""
    sums: dict[TopicId, Vector] = {}
    for example, vector in zip(examples, vectors, strict=True):
        flags = (SENSITIVE[flag] for flag in example.flags if flag in SENSITIVE)
        for topic in (*map(TopicId, example.topics), *flags):
            sums[topic] = sums.get(topic, 0) + vector
    return sums


def _own_topics(page: PageText, categories: Mapping[str, str], taxonomy: Taxonomy) -> frozenset[TopicId]:
    named = (name.casefold() for name in (page.section, *page.keywords) if name)
    ids = (categories.get(name) for name in named)
    return frozenset(TopicId(topic) for topic in ids if topic is not None and topic in taxonomy)


def _in_company(cues: Mapping[str, float]) -> dict[str, float]:
    """Leave out what only a single weak cue speaks for."""
    return {target: strength for target, strength in cues.items() if strength > _LONELY}


def _excess(cues: Mapping[str, float], words: int) -> Floats:
    """Return (flags,) by how far the cues exceed those that stray into any text of so many words.

    A single one makes a headline, not an article; and an article without any is hardly about what its opening is like.
    """
    stray = _STRAY_CUES * words / 100
    length = math.sqrt(max(1.0, words / _SHORT_WORDS))
    return np.array([max((cues.get(flag, 0.0) - stray) / length, -1.0) for flag in _FLAGS])


def _outermost(found: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    """Return how often each phrase occurs outside of longer ones, and where first: a "shooting star" is no shooting."""
    counts: dict[str, tuple[int, int]] = {}
    reached = -1
    for phrase, start, end in sorted(found, key=lambda f: (f[1], -f[2])):
        if end > reached:
            times, first = counts.get(phrase, (0, start))
            counts[phrase] = (times + 1, first)
            reached = end
    return counts
