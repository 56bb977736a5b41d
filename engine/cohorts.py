"""Contextual cohorts: groups of a publisher's pages that are about much the same, found from the pages' vectors.

A cohort is of pages and of nobody: it says what a page is like. They are kept in the publisher's record, so that
rules can name them, and keep their ids when they are found anew.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from contexts.context import Topic, TopicId, Vector
from contexts.encode import unit
from contexts.topic_vectors import TopicVectors
from engine.campaign import PageCohort

MOST = 50  # cohorts of a publisher
ROUNDS = 50  # of moving centres; they stand still long before
SAME = 0.80  # cosine from which a centre found anew is the cohort that it was
TRIED = 512  # pages, evenly spread, among which a first centre is looked for
NAMED_BY = 2  # topics that name a cohort


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: the cohorts, how many pages each has, and how alike these are."""

    cohorts: tuple[PageCohort, ...]
    pages: tuple[int, ...]
    tightness: tuple[float, ...]  # mean cosine of a cohort's pages to its centre


def find(
    pages: Vector,
    count: int,
    before: Sequence[PageCohort],
    topics: TopicVectors,
    names: dict[TopicId, str],
    about: Sequence[Sequence[Topic]] = (),
) -> Found:
    """Find up to `count` cohorts among (n, dim) vectors of norm 1, beginning with those there were `before`.

    A new one is named by what its pages are `about`, (n,), as far as others are not; where that is not known, by the
    topics nearest to its centre.
    The same pages give the same cohorts. Spherical k-means (Dhillon and Modha, 2001), begun at the centres there were
    and, one after the other, at the page that brings all pages nearest to a centre: the farthest would stay alone.
    """
    centres = [centre_of(one) for one in before if len(centre_of(one)) == pages.shape[1]][:count]
    if not centres and len(pages):
        mean = unit(pages.mean(axis=0, keepdims=True))[0]
        centres.append(pages[int((pages @ mean).argmax())])
    tried = pages[:: max(1, len(pages) // TRIED)]  # that may be a centre to begin with
    while len(centres) < min(count, len(pages)):
        near = (pages @ np.array(centres).T).max(axis=1)
        if near.min() > 1 - 1e-6:
            break  # all pages are at a centre
        nearer = np.maximum(pages @ tried.T, near[:, None]).sum(axis=0)
        best = int(nearer.argmax())
        far = nearer[best] <= near.sum() + 1e-6  # all that are tried are at a centre
        centres.append(pages[int(near.argmin())] if far else tried[best])
    matrix = np.array(centres, np.float32).reshape(-1, pages.shape[1])
    member = np.zeros(len(pages), np.int64)
    for _ in range(ROUNDS if len(pages) else 0):
        member = (pages @ matrix.T).argmax(axis=1)
        moved = matrix.copy()
        for at in range(len(matrix)):
            mine = pages[member == at]
            if len(mine):
                moved[at] = unit(mine.sum(axis=0, keepdims=True))[0]
        if np.allclose(moved, matrix, atol=1e-6):
            break
        matrix = moved
    sizes = np.bincount(member, minlength=len(matrix))
    tight = [
        float((pages[member == at] @ matrix[at]).mean()) if sizes[at] else 0.0 for at in range(len(matrix))
    ]
    kept = _kept(matrix, before)
    taken = set(kept.values())
    made = []
    overall = _weight(about)
    for at, centre in enumerate(matrix):
        said = _named_by(
            _weight(one for one, mine in zip(about, member == at, strict=False) if mine), overall
        )
        id = kept.get(at) or _fresh(_name(said or _near(centre, topics), names), taken)
        taken.add(id)
        made.append(PageCohort(id, text_of(centre)))
    return Found(tuple(made), tuple(sizes.tolist()), tuple(tight))


def centre_of(cohort: PageCohort) -> Vector:
    """Return a cohort's centre, (dim,) float32 of norm 1; empty where it cannot be read."""
    try:
        data = base64.b64decode(cohort.centre, validate=True)
    except (binascii.Error, ValueError):
        return np.zeros(0, np.float32)
    if len(data) % 2:
        return np.zeros(0, np.float32)
    vector = np.frombuffer(data, "<f2").astype(np.float32)
    return unit(vector[None, :])[0] if len(vector) else vector


def text_of(centre: Vector) -> str:
    """Write a centre as base64 of float16: what is lost moves no page but at the border of two cohorts."""
    return base64.b64encode(centre.astype("<f2").tobytes()).decode()


def nearest(page: Vector, centres: Vector) -> int | None:
    """Return the row of the centre that a page's vector is nearest to; None where there is none of its kind."""
    if not len(centres) or centres.shape[1] != len(page):
        return None
    return int((centres @ page).argmax())


def _kept(matrix: Vector, before: Sequence[PageCohort]) -> dict[int, str]:
    """Return the ids of those centres that are cohorts there were: the nearest pairs first, each once."""
    old = [(one.id, centre_of(one)) for one in before]
    pairs = sorted(
        (-float(matrix[at] @ centre), at, id)
        for at in range(len(matrix))
        for id, centre in old
        if len(centre) == matrix.shape[1]
    )
    kept: dict[int, str] = {}
    for distance, at, id in pairs:
        if -distance >= SAME and at not in kept and id not in kept.values():
            kept[at] = id
    return kept


def _weight(about: Iterable[Sequence[Topic]]) -> Counter[TopicId]:
    """Return how much pages are about each topic, in all."""
    found: Counter[TopicId] = Counter()
    for page in about:
        found.update({topic.id: topic.score for topic in page if topic.score > 0})
    return found


def _named_by(mine: Counter[TopicId], overall: Counter[TopicId]) -> list[TopicId]:
    """Return the topics that tell pages from the others best: those of many of them, and of few others."""
    return sorted(mine, key=lambda topic: (-mine[topic] * mine[topic] / overall[topic], topic))[:NAMED_BY]


def _near(centre: Vector, topics: TopicVectors) -> list[TopicId]:
    """Return the topics nearest to a centre."""
    near = np.argsort(-(topics.matrix @ centre), kind="stable")[:NAMED_BY]
    by_row = {row: topic for topic, row in topics.rows.items()}
    return [by_row[int(row)] for row in near]


def _name(said: Sequence[TopicId], names: dict[TopicId, str]) -> str:
    spoken = " ".join(names[topic] for topic in said if topic in names).lower()
    words = "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in spoken).split()
    return "-".join(dict.fromkeys(words))[:48].strip("-") or "pages"


def _fresh(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(other for n in range(2, MOST + 2) if (other := f"{name}-{n}") not in taken)
