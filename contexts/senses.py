"""In which of its meanings a word stands on a page: the page's vector with the word taken out, beside topics'.

No list of words is kept. A sense is named by topics, and any word has any. Of a topic two vectors are compared: what is
known of it (its name, our examples, what pages of it say), and the mean of sentences that set the word beside it. The
second counts twice: a crane is more of a building site than "building site" is of a crane. From all of them, and from
the page's, the word's own direction is taken out, which says nothing of its meaning here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from contexts.context import SENSITIVE, TopicId, Vector
from contexts.encode import Encoder, unit
from contexts.keyphrases import listed
from contexts.lexicon import Lexicon
from contexts.taxonomy import Taxonomy

FRAMES = (
    "{topic}: {word}",
    "{word} ({topic})",
    "The word {word} as it is used in {topic}.",
    "We write about {topic}. Today: {word}.",
)
MOST_SAID = (
    3  # of what pages of a topic say, and as much again of the examples: each costs an encoding for each word
)
_BESIDE = 2.0  # of the sentences with the word, beside what is known of the topic without it

Prepared = tuple[
    Vector, Vector
]  # (dim,) of the word; (dim,) of a topic beside it, to be multiplied with a page's


class Senses:
    """Tells senses in the space of one encoder. Any threads may ask; what is asked for is prepared off the path."""

    def __init__(
        self, encoder: Encoder, taxonomy: Taxonomy, lexicon: Lexicon, taught: Mapping[TopicId, Vector]
    ) -> None:
        """`taught` are the sums of the vectors of topics' examples, where there are any."""
        self._encoder, self._taxonomy, self._taught = encoder, taxonomy, taught
        self._said = lexicon.said
        self._examples: dict[str, list[str]] = {}
        for example in lexicon.examples:
            for topic in (*example.topics, *(SENSITIVE[f] for f in example.flags if f in SENSITIVE)):
                self._examples.setdefault(topic, []).append(example.text)
        self._prepared: dict[tuple[str, TopicId], Prepared] = {}

    def prepare(self, pairs: Iterable[tuple[str, TopicId]]) -> None:
        """Encode what is needed to tell these words' senses (word, topic); others are forgotten."""
        wanted = {(listed(word), topic) for word, topic in pairs if topic in self._taxonomy}
        missing = sorted(wanted - self._prepared.keys())
        known, beside = self._known, self._beside
        texts = [word for word, _ in missing]
        texts += [text for word, topic in missing for text in (*known(topic), *beside(word, topic))]
        texts = list(dict.fromkeys(texts))
        vectors = dict(zip(texts, self._encoder.encode(texts), strict=True)) if texts else {}
        made: dict[tuple[str, TopicId], Prepared] = {}
        for word, topic in missing:
            of_topic = sum(vectors[text] for text in known(topic)) + self._taught.get(topic, 0)
            of_both = sum(vectors[text] for text in beside(word, topic))
            two = _without(unit(np.array([of_topic, of_both])), vectors[word])
            made[word, topic] = vectors[word], two[0] + np.float32(_BESIDE) * two[1]
        self._prepared = {pair: self._prepared.get(pair) or made[pair] for pair in wanted}

    def _known(self, topic: TopicId) -> list[str]:
        return [self._taxonomy.path(topic), *self._said.get(topic, ())]

    def _beside(self, word: str, topic: TopicId) -> list[str]:
        """Return sentences that set a word beside a topic."""
        name = self._taxonomy.name(topic)
        told = (*self._said.get(topic, ())[:MOST_SAID], *self._examples.get(topic, ())[:MOST_SAID])
        return [frame.format(topic=name, word=word) for frame in FRAMES] + [f"{word}: {one}" for one in told]

    def nearest(self, word: str, page: Vector, senses: Sequence[Sequence[TopicId]]) -> int | None:
        """Return which of the senses, each of some topics, is nearest; None where none was prepared for.

        A sense is as near as its nearest topic; of equals the first is taken.
        """
        scores = [self._score(listed(word), page, sense) for sense in senses]
        known = [score for score in scores if score is not None]
        return scores.index(max(known)) if known else None

    def _score(self, word: str, page: Vector, topics: Sequence[TopicId]) -> float | None:
        found = []
        for topic in topics:
            prepared = self._prepared.get((word, topic))
            if prepared is not None:
                own, both = prepared
                found.append(float(both @ _without(page[None, :], own)[0]))
        return max(found, default=None)


def _without(vectors: Vector, word: Vector) -> Vector:
    """Take a direction out of (n, dim) vectors, and give them norm 1 again."""
    return unit(vectors - np.outer(vectors @ word, word).astype(np.float32))
