"""The topics of a taxonomy as vectors: what creatives are drawn to, and what a match is named after."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np

from contexts.context import EncoderId, TopicId, Vector
from contexts.encode import Encoder
from contexts.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True, eq=False)
class TopicVectors:
    """One vector a topic: the encoding of its names from the first tier down."""

    encoder_id: EncoderId
    matrix: Vector  # (topics, dim) float32 of norm 1
    rows: dict[TopicId, int]

    @classmethod
    def build(cls, encoder: Encoder, taxonomy: Taxonomy, cached: MutableMapping[str, Vector]) -> TopicVectors:
        """Encode the topics' names, or take the vectors from `cached`, where new ones are put."""
        topics = [node.id for node in taxonomy]
        names = [taxonomy.path(topic) for topic in topics]
        key = hashlib.blake2b("\0".join((encoder.id, *names)).encode(), digest_size=16).hexdigest()
        matrix = cached.get(key)
        if matrix is None or matrix.shape != (len(topics), encoder.dim):
            matrix = cached[key] = encoder.encode(names)
        return cls(encoder.id, matrix, {topic: row for row, topic in enumerate(topics)})

    def closeness(self, topics: Sequence[TopicId], vector: Vector) -> list[float]:
        """Return the cosine of each of these topics, which are of the taxonomy, and a vector of any length."""
        near = self.matrix[[self.rows[topic] for topic in topics]] @ vector
        norm = float(np.sqrt(vector @ vector))
        return (near / norm if norm else near).tolist()  # type: ignore[no-any-return]  # floats
