"""In which of its meanings a word stands on a page: the page's vector with the word taken out, beside topics'.

No list of words is kept. A sense is named by topics, and any word has any. Three kinds of a topic's vector are
compared: its name's, the mean of this and of what we taught of it, and the name's beside the word. From all of
them, and from the page's, the word's own direction is taken out, which says nothing of its meaning here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from contexts.context import TopicId, Vector
from contexts.encode import Encoder, unit
from contexts.keyphrases import listed
from contexts.taxonomy import Taxonomy

Prepared = tuple[Vector, Vector]  # (dim,) of the word; (3, dim) of a topic, without it


class Senses:
    """Tells senses in the space of one encoder. Any threads may ask; what is asked for is prepared off the path."""

    def __init__(self, encoder: Encoder, taxonomy: Taxonomy, taught: Mapping[TopicId, Vector]) -> None:
        """`taught` are the sums of the vectors of topics' examples, where there are any."""
        self._encoder, self._taxonomy, self._taught = encoder, taxonomy, taught
        self._prepared: dict[tuple[str, TopicId], Prepared] = {}

    def prepare(self, pairs: Iterable[tuple[str, TopicId]]) -> None:
        """Encode what is needed to tell these words' senses (word, topic); others are forgotten."""
        wanted = {(listed(word), topic) for word, topic in pairs if topic in self._taxonomy}
        missing = sorted(wanted - self._prepared.keys())
        words, topics = sorted({word for word, _ in missing}), sorted({topic for _, topic in missing})
        texts = [*words, *map(self._taxonomy.path, topics)]
        texts += [f"{self._taxonomy.name(topic)}: {word}" for word, topic in missing]
        vectors = dict(zip(texts, self._encoder.encode(texts), strict=True)) if texts else {}
        made: dict[tuple[str, TopicId], Prepared] = {}
        for word, topic in missing:
            name = vectors[self._taxonomy.path(topic)]
            mean = unit((name + self._taught.get(topic, 0))[None, :])[0]
            beside = vectors[f"{self._taxonomy.name(topic)}: {word}"]
            made[word, topic] = vectors[word], _without(np.array([name, mean, beside]), vectors[word])
        self._prepared = {pair: self._prepared.get(pair) or made[pair] for pair in wanted}

    def nearest(self, word: str, page: Vector, senses: Sequence[Sequence[TopicId]]) -> int | None:
        """Return which of the senses, each of some topics, is nearest; None where none was prepared for.

        A sense is as near as its nearest topic, by the sum of its kinds; of equals the first is taken.
        """
        scores = [self._score(listed(word), page, sense) for sense in senses]
        known = [score for score in scores if score is not None]
        return scores.index(max(known)) if known else None

    def _score(self, word: str, page: Vector, topics: Sequence[TopicId]) -> float | None:
        found = []
        for topic in topics:
            prepared = self._prepared.get((word, topic))
            if prepared is not None:
                own, kinds = prepared
                found.append(float((kinds @ _without(page[None, :], own)[0]).sum()))
        return max(found, default=None)


def _without(vectors: Vector, word: Vector) -> Vector:
    """Take a direction out of (n, dim) vectors, and give them norm 1 again."""
    return unit(vectors - np.outer(vectors @ word, word).astype(np.float32))
