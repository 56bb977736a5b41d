"""Creatives' vectors drawn to what they are about, and pages' vectors drawn to what is on offer.

An advertisement is one sentence; its own vector holds much that is only wording. Three means of vectors, all
in the encoder's space, take the wording out: of the topics nearest to the creative, of its siblings in the
same group, and (for a page) of the groups nearest to it. The weights are round numbers that were not tuned:
results are flat around them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector
from contexts.encode import unit

SHARPNESS = 20.0  # of "nearest": a cosine higher by .035 counts twice as much
SIBLINGS = 0.5  # weight of a group's mean beside a creative's own vector
OFFER = 0.5  # weight of the offer's mean beside a page's own vector
ANCHORS = 1024  # groups that stand for the offer: what one page's comparison may cost
CHUNK = 4096  # rows compared at once: bounds the memory


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What a catalogue has on offer, in one encoder's space."""

    creatives: Vector  # (creatives, dim) float32 of norm 1; zero where neither it nor a sibling has words
    anchors: Vector  # (groups, dim) float32 of norm 1: one for each of at most ANCHORS groups


def focus(page: Vector, anchors: Vector) -> Vector:
    """Draw a page's vector, (dim,) or (pages, dim), to the groups nearest to it.

    What decides between two meanings of a short text is what can be shown at all. The result belongs to the
    offer of these anchors: compare it with its `creatives` only, and keep the page's own vector for the next.
    """
    pages = np.atleast_2d(page)
    focused: Vector = unit(pages + OFFER * _near(pages, anchors)).reshape(page.shape)
    return focused


def topical(own: Vector, topics: Vector) -> Vector:
    """Draw creatives' own vectors, (creatives, dim), to the topics nearest to them, (topics, dim).

    A row depends on its creative and the topics alone, so that it can be kept with the creative's vector.
    """
    return unit(own + _near(own, topics))


def offer(creatives: Vector, groups: Sequence[str]) -> Offer:
    """Add to each creative's topical vector the mean of its group (campaign, or advertiser).

    One creative more or less moves its own group's mean and nothing else of the others. The same creatives
    in another order give the same rows.
    """
    if len(creatives) != len(groups):
        raise ValueError(f"{len(creatives)} creatives, {len(groups)} groups: expected one group a creative")
    names, member = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    means = _means(creatives, member, len(names))
    drawn = unit(creatives + SIBLINGS * means[member])
    return Offer(drawn, unit(means[_anchors(names)]))


def _means(vectors: Vector, member: NDArray[np.int64], groups: int) -> Vector:
    """Return each group's mean, not scaled: a group at odds with itself has a short one, and counts less."""
    order = np.argsort(member, kind="stable")
    counts = np.bincount(member, minlength=groups)
    sums: Vector = np.add.reduceat(vectors[order], np.cumsum(counts) - counts) if groups else vectors
    worded = np.bincount(member[vectors.any(axis=1)], minlength=groups)
    means: Vector = sums / np.maximum(worded, 1).astype(np.float32)[:, None]
    return means


def _anchors(names: NDArray[np.str_]) -> NDArray[np.int64]:
    """Choose by the hash of the name: a group that comes or goes changes one place at most."""
    if len(names) <= ANCHORS:
        return np.arange(len(names))
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    return np.sort(np.array(sorted(range(len(names)), key=digests.__getitem__)[:ANCHORS]))


def _near(vectors: Vector, anchors: Vector) -> Vector:
    """Return for each vector the direction of the mean of anchors, weighted by nearness (softmax)."""
    near = np.zeros_like(vectors, dtype=np.float32)
    if not len(anchors):
        return near
    for start in range(0, len(vectors), CHUNK):
        rows = vectors[start : start + CHUNK]
        closeness = SHARPNESS * (rows @ anchors.T)
        closeness -= closeness.max(axis=1, keepdims=True)
        near[start : start + CHUNK] = unit(np.exp(closeness) @ anchors)
    near[~vectors.any(axis=1)] = 0  # nothing is near to nothing
    return near
