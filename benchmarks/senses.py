"""How well words of several meanings are told apart: `python -m benchmarks senses [--models FOLDER]`.

The set is tests/data/senses.ndjson, frozen by its hash (tests/data/README.md); how senses are told was chosen on
another, senses_tried.ndjson, which is printed first. Accuracy, recall of each sense, and two rivals: nearest topic name
to the page's vector, and the first sense always. Then what a careful advertiser's
suitability says of the same pages: real harm flagged, harmless pages flagged. Last, the fill lost to each rule: of all
pages, those that one rule alone keeps a campaign from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contexts.context import SENSITIVE, PageFacts, TopicId
from contexts.encode import Encoder
from contexts.encoders import open_encoder
from contexts.extract import read
from contexts.page import TopicModel, understand
from contexts.taxonomy import content_taxonomy
from contexts.topic_vectors import TopicVectors
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import PageInput

FROZEN = "1ba31c790c6fb75ee8161108cdfbf93594fe998a2c207a1aa2bf555e4a33c213"
ACCURACY, RECALL = 0.95, 0.85
RATE_Z = 1.96  # of an interval of 95 %
SET = Path(__file__).parent.parent / "tests" / "data" / "senses.ndjson"
TRIED = SET.with_name("senses_tried.ndjson")

Key = tuple[str, str]


def main(argv: Sequence[str] = ()) -> int:
    """Run it, print counts, return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks senses", description=__doc__)
    parser.add_argument("--models", type=Path, help="folder where exported encoders are kept")
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    options = parser.parse_args(list(argv))
    data = SET.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != FROZEN:
        print(f"{SET.name} is not the frozen set: sha256 {found}")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        encoder = open_encoder(options.models or Path(scratch))
        model = TopicModel.build(encoder, content_taxonomy())
        told, pages, _ = _read(TRIED.read_bytes(), model, encoder)
        right = sum(row["sense"] == answer for row, answer in zip(pages, told["ours"], strict=True))
        print(f"the set that it was chosen on: {right}/{len(pages)} = {right / len(pages):.3f}")
        told, pages, facts = _read(data, model, encoder)
    print(
        f"{len(pages)} pages, {len({(row['word'], row['sense']) for row in pages})} senses of "
        f"{len({row['word'] for row in pages})} words; encoder {encoder.id}"
    )
    kept = [_judge(name, pages, answers, print_misses=name == "ours") for name, answers in told.items()]
    _suitability(pages, facts)
    _fill_lost(facts)
    return 0 if kept[0] else 1


def _read(
    data: bytes, model: TopicModel, encoder: Encoder
) -> tuple[dict[str, list[str]], list[dict[str, str]], list[PageFacts]]:
    """Return which sense each way of telling takes each page for, the pages, and what was understood of them."""
    rows = [json.loads(line) for line in data.splitlines()]
    senses: dict[str, dict[str, list[TopicId]]] = defaultdict(dict)
    for row in rows:
        if row["kind"] == "sense":
            senses[row["word"]][row["sense"]] = [TopicId(topic) for topic in row["topics"]]
    pages = [row for row in rows if row["kind"] == "page"]
    names = TopicVectors.build(encoder, model.taxonomy, {})
    model.senses.prepare(
        (word, topic) for word, by in senses.items() for topics in by.values() for topic in topics
    )
    vocabulary = model.vocabulary(senses)
    told = {"ours": [], "nearest name": [], "first sense": []}  # type: dict[str, list[str]]
    facts = []
    for row in pages:
        page = read(PageInput(text=row["text"], language="en"))
        vector = encoder.encode([page.for_encoder()])[0]
        facts.append(understand(page, vector, model, vocabulary, language=("en", None)))
        by = senses[row["word"]]
        at = model.senses.nearest(row["word"], vector, list(by.values()))
        told["ours"].append(list(by)[at or 0])
        near = [max(names.closeness(topics, vector)) for topics in by.values()]
        told["nearest name"].append(list(by)[int(np.argmax(near))])
        told["first sense"].append(next(iter(by)))
    return told, pages, facts


def _judge(name: str, pages: Sequence[dict[str, str]], answers: Sequence[str], *, print_misses: bool) -> bool:
    hits: Counter[Key] = Counter()
    of: Counter[Key] = Counter()
    for row, answer in zip(pages, answers, strict=True):
        key = (row["word"], row["sense"])
        of[key] += 1
        hits[key] += answer == row["sense"]
    right, total = sum(hits.values()), len(pages)
    low = {key: hits[key] / of[key] for key in of if hits[key] / of[key] < RECALL}
    print(
        f"{name}: accuracy {right}/{total} = {right / total:.3f} ({_interval(right, total)}), bound {ACCURACY}"
    )
    print(
        f"  senses of recall below {RECALL}: {len(low)} of {len(of)}" + (": " if low and print_misses else "")
    )
    if print_misses:
        for (word, sense), recall in sorted(low.items(), key=lambda item: item[1]):
            print(f"    {word} ({sense}) {recall:.2f}")
        for row, answer in zip(pages, answers, strict=True):
            if answer != row["sense"]:
                print(f"  MISS {row['word']}: {row['sense']} taken for {answer}: {row['text'][:80]}")
    return right / total >= ACCURACY and not low


def _suitability(pages: Sequence[dict[str, str]], facts: Sequence[PageFacts]) -> None:
    harmful = [bool(page.sensitive) for row, page in zip(pages, facts, strict=True) if row["sensitive"]]
    harmless = [bool(page.sensitive) for row, page in zip(pages, facts, strict=True) if not row["sensitive"]]
    print(
        f"suitability: of pages of real harm flagged {sum(harmful)}/{len(harmful)} = {np.mean(harmful):.3f}"
    )
    print(f"  of harmless ones flagged {sum(harmless)}/{len(harmless)} = {np.mean(harmless):.3f}")


def _fill_lost(facts: Sequence[PageFacts]) -> None:
    print(f"fill lost on these {len(facts)} pages (adversarial: most words are those of harm)")
    for flag in SENSITIVE:
        alone = sum(page.sensitive == {flag} for page in facts)
        lost = sum(flag in page.sensitive for page in facts)
        if lost:
            print(f"  suitability {flag}: {lost} = {lost / len(facts):.1%}, to it alone {alone}")
    every = sum(bool(page.sensitive) for page in facts)
    print(f"  any of suitability: {every} = {every / len(facts):.1%}")
    unknown = sum(not page.suitability_known for page in facts)
    print(f"  page not understood: {unknown}")
    for category in SPECIAL_CATEGORIES:
        lost = sum(category in page.special for page in facts)
        if lost:
            print(f"  Article 9, {category}: {lost} = {lost / len(facts):.1%} (consented signals alone)")


def _interval(hits: int, total: int) -> str:
    """Return Wilson's interval of a rate."""
    p, z = hits / total, RATE_Z
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * (p * (1 - p) / total + z * z / (4 * total * total)) ** 0.5 / (1 + z * z / total)
    return f"95 % interval {middle - half:.3f} to {middle + half:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
