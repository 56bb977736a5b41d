"""How well pages are understood: `python -m benchmarks topics [--data FOLDER]`.

Four checks, each with its bound; none of the labels of the first was written here:
- map: the official map from Content Taxonomy 1.0 to Ad Product 2.0 (TACTFUL_DATA/iab-taxonomies). Each
  second-tier name of 1.0 is read as a page of that one line, and so is each advertised product that only one
  first tier maps to. The label is the first tier of 1.0 that the official files give.
- pages: the pages of TACTFUL_DATA/relevance, whose five topics have plain counterparts among the first tiers.
- sensitive: recall of the labels of JSONL files {"text", "labels"}, and how many texts without labels raise a
  flag, by their "kind" where they state one; on ours (tests/data/sensitive, what was held out), or on every
  *.jsonl in --data FOLDER.
- public domain: ten passages whose topics were committed before any model read them; misses are named.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contexts.context import SENSITIVE, PageFacts, TopicId
from contexts.encode import Encoder
from contexts.encoders import open_encoder
from contexts.extract import read
from contexts.page import TopicModel, understand
from contexts.taxonomy import content_taxonomy
from privacy.special_categories import SPECIAL_CATEGORIES
from privacy.visit import PageInput

# Bounds: what is missed below them is a defect.
MAP_ACCURACY = 0.78
PAGES_ACCURACY = 0.93
PAGES_FLAGGED = 0.05  # pages of shops and games, of which few are what a careful advertiser minds
RECALL = 0.90
FALSE_ALARMS = 0.10
PUBLIC_DOMAIN = 8
COST_MS = 1.5

# First tiers of Content 1.0 and those of 3.1 that mean the same, or hold what was moved since.
FIRST_TIERS: dict[str, tuple[str, ...]] = {
    "Arts & Entertainment": ("JLBCU7", "42", "201", "432", "SPSHQ5"),
    "Automotive": ("1",),
    "Business": ("52",),
    "Careers": ("123",),
    "Education": ("132",),
    "Family & Parenting": ("186", "163", "286", "223"),
    "Food & Drink": ("210",),
    "Health & Fitness": ("286", "223"),
    "Hobbies & Interests": ("239", "680"),
    "Home & Garden": ("274",),
    "Law, Gov't & Politics": ("386", "383"),
    "Personal Finance": ("391",),
    "Pets": ("422",),
    "Real Estate": ("441",),
    "Religion & Spirituality": ("453",),
    "Science": ("464",),
    "Shopping": ("473",),
    "Sports": ("483",),
    "Style & Fashion": ("552",),
    "Technology & Computing": ("596",),
    "Travel": ("653",),
}
PAGE_TOPICS: dict[str, tuple[str, ...]] = {
    "real_estate": ("441",),
    "restaurant": ("210", "150"),
    "gaming": ("680",),
    "shopping": ("473", "552"),
    "car": ("1",),
    "travel": ("653",),
    "technology": ("596",),
    "workout": ("223", "483"),
    "banking": ("391", "52"),
    "streaming": ("JLBCU7",),
}


@dataclass(frozen=True)
class Reader:
    """Everything that turns a text into facts."""

    encoder: Encoder
    model: TopicModel

    def facts(self, text: str) -> PageFacts:
        """Read an English text as a page sent by a caller."""
        page = read(PageInput(text=text, language="en"))
        vector = self.encoder.encode([page.for_encoder()])[0]
        return understand(page, vector, self.model, self.model.vocabulary([]))

    def first_tier(self, facts: PageFacts) -> TopicId | None:
        """Return the best first tier."""
        return next((t.id for t in facts.topics if not self.model.taxonomy.ancestors(t.id)), None)


def main(argv: Sequence[str] = ()) -> int:
    """Run the checks, print counts, return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks topics", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of *.jsonl with text and labels, instead of ours")
    parser.add_argument("--models", type=Path, help="folder where exported encoders are kept")
    options = parser.parse_args(list(argv))
    given = Path(os.environ.get("TACTFUL_DATA", "../shared/data"))
    ours = Path(__file__).parent.parent / "tests" / "data"
    with tempfile.TemporaryDirectory() as scratch:
        encoder = open_encoder(options.models or Path(scratch))
        began = time.perf_counter()
        reader = Reader(encoder, TopicModel.build(encoder, content_taxonomy()))
        print(f"encoder {encoder.id}; model built in {time.perf_counter() - began:.1f} s")
        kept = []
        if (given / "iab-taxonomies").is_dir():
            kept.append(_check("map", *official_map(reader, given / "iab-taxonomies"), MAP_ACCURACY))
        else:
            print(f"map: skipped, no {given / 'iab-taxonomies'} (set TACTFUL_DATA)")
        for pages in sorted(given.glob("relevance/*/pages.jsonl")):
            hits, total, flagged = labelled_pages(reader, pages)
            kept.append(_check(f"pages {pages.parent.name}", hits, total, PAGES_ACCURACY))
            kept.append(flagged <= PAGES_FLAGGED * total)
            print(f"  flagged {flagged}/{total} (bound {PAGES_FLAGGED:.0%}): {_verdict(kept[-1])}")
        held_out = sorted((ours / "sensitive").glob("*held_out.jsonl"))
        for path in sorted(options.data.glob("*.jsonl")) if options.data else held_out:
            kept.append(sensitive(reader, path))
        kept.append(public_domain(reader, ours / "public_domain"))
        kept.append(cost(reader, ours / "public_domain"))
    return 0 if all(kept) else 1


def official_map(reader: Reader, folder: Path) -> tuple[int, int]:
    """Return hits and texts: names of both sides of the official map, labelled by its first tiers."""
    texts: dict[str, set[str]] = {}
    for row in _table(folder / "Content 1.0 to Ad Product 2.0.tsv", first=1):
        tier_1, tier_2 = row[1], row[2]
        if tier_1 in FIRST_TIERS and tier_2:
            texts.setdefault(tier_2, set()).add(tier_1)
    for row in _table(folder / "Ad Product 2.0 to Content 1.0.tsv", first=2):
        path, tier_1 = [part for part in row[2:5] if part], row[7] if len(row) > 7 else ""
        if tier_1 in FIRST_TIERS and len(path) > 1:
            texts.setdefault(". ".join(reversed(path)), set()).add(tier_1)
    hits = 0
    misses: Counter[str] = Counter()
    for text, labels in texts.items():
        said = reader.first_tier(reader.facts(text))
        if said in {topic for label in labels for topic in FIRST_TIERS[label]}:
            hits += 1
        else:
            misses[
                f"{'/'.join(sorted(labels))} → {reader.model.taxonomy.name(said) if said else 'none'}"
            ] += 1
    print("map: most frequent misses: " + "; ".join(f"{what} {n}" for what, n in misses.most_common(8)))
    return hits, len(texts)


def labelled_pages(reader: Reader, path: Path) -> tuple[int, int, int]:
    """Return hits, pages of a relevance folder whose topic has a counterpart, and how many are flagged."""
    hits = total = flagged = 0
    for row in _lines(path):
        if row.get("topic") in PAGE_TOPICS:
            facts = reader.facts(row["text"])
            total += 1
            hits += reader.first_tier(facts) in PAGE_TOPICS[row["topic"]]
            flagged += bool(facts.sensitive | facts.special)
    return hits, total, flagged


def sensitive(reader: Reader, path: Path) -> bool:
    """Print recall by label and false alarms; the same with the vector alone and with the cues alone."""
    rows = [row for row in _lines(path) if set(row["labels"]) <= {*SENSITIVE, *SPECIAL_CATEGORIES}]
    wanted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    harmless: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    no_cues = np.zeros(len(SENSITIVE) + len(SPECIAL_CATEGORIES))
    for row in rows:
        page = read(PageInput(text=row["text"], language="en"))
        vector = reader.encoder.encode([page.for_encoder()])[0]
        facts = understand(page, vector, reader.model, reader.model.vocabulary([]))
        cues = reader.model.cues(page, reader.model.vocabulary([]), english=True)
        flags = facts.sensitive | facts.special
        for label in row["labels"]:
            wanted[label] += 1
            found[label] += label in flags
            alone["vector"] += label in reader.model.flags(vector, no_cues, {})
            alone["cues"] += label in reader.model.flags(None, cues.flags, {})
        if not row["labels"]:
            harmless[row.get("kind", "plain")] += 1
            alarms[row.get("kind", "plain")] += bool(flags)
    total = sum(wanted.values())
    recall = sum(found.values()) / max(total, 1)
    alarm_rate = alarms.total() / max(harmless.total(), 1)
    print(f"sensitive {path.name}: " + ", ".join(f"{k} {found[k]}/{wanted[k]}" for k in sorted(wanted)))
    print(f"  by the vector alone {alone['vector']}/{total}, by cues alone {alone['cues']}/{total}")
    kept = recall >= RECALL and alarm_rate <= FALSE_ALARMS
    print(
        f"  recall {sum(found.values())}/{total} = {recall:.3f} (bound {RECALL}), "
        f"false alarms {alarms.total()}/{harmless.total()} = {alarm_rate:.3f} (bound {FALSE_ALARMS}; "
        + ", ".join(f"{kind} {alarms[kind]}/{harmless[kind]}" for kind in harmless)
        + f"): {_verdict(kept)}"
    )
    return kept


def public_domain(reader: Reader, folder: Path) -> bool:
    """Print what is said of each passage beside what was expected of it."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["texts"]
    hits = 0
    for text in expected:
        facts = reader.facts((folder / text["file"]).read_text(encoding="utf-8"))
        hit = reader.first_tier(facts) in text["any"]
        hits += hit
        said = ", ".join(f"{t.name} {t.score:.2f}" for t in facts.topics[:3]) or "nothing"
        wanted = " or ".join(text["names"])
        print(f"  {'hit ' if hit else 'MISS'} {text['work']}: expected {wanted}, said {said}")
    kept = hits >= PUBLIC_DOMAIN
    print(f"public domain: {hits}/{len(expected)} (bound {PUBLIC_DOMAIN}): {_verdict(kept)}")
    return kept


def cost(reader: Reader, folder: Path) -> bool:
    """Print what reading and understanding a new 500-word page costs beside the encoder."""
    words = " ".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))).split()
    vocabulary = reader.model.vocabulary([f"brand {n} thing {n % 70}" for n in range(10_000)])
    vector = reader.encoder.encode([" ".join(words[:60])])[0]
    times = []
    for number in range(200):
        start = number % (len(words) - 500)
        text = " ".join(words[start : start + 500])
        began = time.thread_time()
        understand(read(PageInput(title=f"Page {number}", text=text)), vector, reader.model, vocabulary)
        times.append((time.thread_time() - began) * 1000)
    median = statistics.median(times)
    kept = median <= COST_MS
    p99 = sorted(times)[int(len(times) * 0.99)]
    print(
        f"cost: 500 words, 10,000 phrases, encoder apart: CPU median {median:.2f} ms, p99 {p99:.2f} ms "
        f"(bound {COST_MS}): {_verdict(kept)}"
    )
    return kept


def _check(name: str, hits: int, total: int, bound: float) -> bool:
    accuracy = hits / max(total, 1)
    kept = accuracy >= bound
    print(f"{name}: first tier right {hits}/{total} = {accuracy:.3f} (bound {bound}): {_verdict(kept)}")
    return kept


def _verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"


def _table(path: Path, first: int) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [[cell.strip() for cell in row] for row in csv.reader(file, delimiter="\t")][first:]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
