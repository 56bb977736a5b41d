"""Page texts that nobody has seen: sentences of the demo's articles, drawn anew for each."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from engine.demo.magazine import HERE, read_articles

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def fresh_texts(seed: int, words: int = 500, folder: Path = HERE / "articles") -> Iterator[str]:
    """Yield texts of so many words without end. Each begins with other words, which is what an encoder reads."""
    chance = random.Random(seed)
    articles = [
        [sentence for block in article.blocks for sentence in _SENTENCE.split(block.text) if sentence]
        for article in read_articles(folder)
    ]
    while True:
        said: list[str] = []
        sentences = chance.choice(articles)
        while len(said) < words:
            sentence = chance.choice(sentences).split()
            at = chance.randrange(len(sentence))
            sentence.insert(at, str(chance.randint(2, 9999)))  # no two texts are alike
            said += sentence
        yield " ".join(said[:words])
