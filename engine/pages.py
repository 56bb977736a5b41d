"""What is known of pages: facts by content, URLs by who may define them. Text passes through and is let go.

What a browser sends is known by its content alone; what a URL means is said only by our own fetch or by an
authenticated call of the publisher's server, else one reader's page would define it for all.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from contexts.context import PageFacts, Vector
from contexts.encode import Encoder
from contexts.errors import ContextError
from contexts.extract import PageText, read
from contexts.page import TopicModel, understand
from engine.background import Background
from engine.cache import Bounded
from engine.campaign import Publisher
from privacy.page_url import MASK
from privacy.visit import PageInput, Visit

log = logging.getLogger(__name__)

ENOUGH_WORDS = 6  # a text of fewer words is trusted less
ENCODE_S = 0.01  # what encoding is taken to need before it was measured
WAITING = 1000  # texts and URLs that wait for work off the path, at most
FETCH_WITHIN_S = 300.0
ASK_AGAIN_S = 600.0  # after a fetch that brought nothing
FETCH_AGAIN_S = 86_400.0
POLL_BATCH = 1000


class PageStore(Protocol):
    """Where page facts outlive a process, and reach the other workers."""

    def put_pages(self, pages: list[PageFacts], now: datetime) -> None:
        """Keep facts by their content hash."""

    def pages_since(self, seq: int, limit: int = POLL_BATCH) -> list[tuple[int, PageFacts]]:
        """Return (number, facts) of what was kept after `seq`."""

    def last_page(self) -> int:
        """Return the number of the facts kept last."""

    def put_page_url(self, publisher: str, url_hash: str, content_hash: str, now: datetime) -> None:
        """Say which content a URL stands for."""

    def page_urls(self) -> Iterator[tuple[str, str, str]]:
        """Yield (publisher, hash of URL, content hash)."""


class Fetch(Protocol):
    """Fetches a registered publisher's page, off the path."""

    def __call__(self, url: str, domains: tuple[str, ...]) -> PageText:
        """Return what a page on one of these domains says. Raises ContextError."""


@dataclass(slots=True)
class PageCounts:
    """Facts about the work done on pages, for `tactful quality` and the metrics."""

    known: int = 0
    first_views: int = 0
    without_vector: int = 0  # the deadline left no time to encode
    unknown: int = 0  # nothing to read, and the URL not known
    better: int = 0
    failed: int = 0
    fetched: int = 0
    fetches_failed: int = 0


class Pages:
    """Finds or makes the facts of a page. On the path it takes no lock that work is done under, and no database."""

    def __init__(
        self,
        store: PageStore,
        encoder: Encoder,
        model: TopicModel,
        better: Callable[[PageText], Vector],
        fetch: Fetch | None,
        *,
        url_hash: Callable[[str], str],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        most: int,
        text_ttl_s: float,
    ) -> None:
        self.model = model
        self.counts = PageCounts()
        self.background = Background("pages", WAITING, monotonic)
        self.fetching = Background("fetches", WAITING, monotonic)
        self._store = store
        self._encoder = encoder
        self._better = better
        self._fetch = fetch
        self._url_hash = url_hash
        self._now = now
        self._monotonic = monotonic
        self._text_ttl_s = text_ttl_s
        self._vocabulary = model.vocabulary(())
        self._phrases: frozenset[str] = frozenset()
        self._facts: Bounded[str, PageFacts] = Bounded(most)  # by content
        self._sent: Bounded[str, str] = Bounded(most)  # hash of what was sent → content
        self._urls: Bounded[tuple[str, str], str] = Bounded(most)  # (publisher, hash of URL) → content
        self._asked: Bounded[tuple[str, str], float] = Bounded(
            most
        )  # URLs whose fetch was asked for, and when
        self._unsaved: list[PageFacts] = []
        self._undefined: list[tuple[str, str, str]] = []
        self._seen = 0
        self._encode_s = ENCODE_S

    def facts(self, visit: Visit, publisher: Publisher, deadline: float) -> PageFacts:
        """Return what is known of the visit's page, understanding it first where it is new.

        Where the time left does not suffice to encode, the facts have no vector, and encoding follows off the path.
        """
        page = visit.page
        whole = bool(page.text or page.html)
        by_url = self._by_url(publisher, page.url) if page.url and not whole else None
        if by_url is not None:
            self.counts.known += 1
            return by_url
        if not (whole or page.title or page.description):
            self.counts.unknown += 1
            return self._nothing(page)
        sent = self._hash_of_sent(publisher.id, page)
        facts = self._facts.get(self._sent.get(sent, ""))
        if facts is not None and facts.vector is not None:
            self.counts.known += 1
        else:
            facts = self._first_view(sent, page, publisher, deadline)
        if visit.trusted and whole and page.url:
            self._define(publisher.id, page.url, facts)
        return facts

    def use_phrases(self, phrases: frozenset[str]) -> None:
        """Look for these phrases (campaign keywords, brands) from now on; pages are read anew on their next view."""
        if phrases != self._phrases:
            self._vocabulary = self.model.vocabulary(sorted(phrases))
            self._phrases = phrases
            self._sent = Bounded(self._sent.most)

    def poll(self) -> None:
        """Keep what was learned here, learn what other workers kept, let go of texts whose time is up."""
        self.background.expire()
        now = self._now()
        unsaved, self._unsaved = self._unsaved, []
        if unsaved:
            self._store.put_pages(list({facts.content_hash: facts for facts in unsaved}.values()), now)
        undefined, self._undefined = self._undefined, []
        for publisher, url, content in dict.fromkeys(undefined):
            self._store.put_page_url(publisher, url, content, now)
        last = self._store.last_page()
        if last > self._seen:
            self._learn()

    def load(self) -> None:
        """Learn what earlier processes kept."""
        self._learn()

    def known(self) -> list[PageFacts]:
        """Return the facts of all pages in memory."""
        return self._facts.values()

    def _learn(self) -> None:
        while batch := self._store.pages_since(self._seen):
            for seq, facts in batch:
                self._seen = seq
                mine = self._facts.get(facts.content_hash)
                if facts.encoder_id == self._encoder.id and (
                    mine is None or facts.better and not mine.better
                ):
                    self._facts.put(facts.content_hash, facts)
        for publisher, url, content in self._store.page_urls():
            self._urls.put((publisher, url), content)

    def _first_view(self, sent: str, page: PageInput, publisher: Publisher, deadline: float) -> PageFacts:
        text = read(page)
        content = _hash(publisher.id, text.content_hash, str(page.cattax), *page.categories)
        known = self._facts.get(content)
        vector = known.vector if known is not None else None
        if vector is None and not text.empty:
            if self._monotonic() + self._encode_s < deadline:
                vector = self._encode(text)
            else:
                self._encode_s *= 0.9  # else one slow moment would end encoding for good
        facts = self._understand(content, text, vector, page, publisher)
        if known is not None and known.vector is not None:
            facts = replace(facts, better=known.better)
        self.counts.first_views += 1
        self.counts.without_vector += vector is None
        self._keep(facts)
        self._sent.put(sent, content)
        if not facts.better and not text.empty:
            self.background.submit(lambda: self._improve(text, facts), self._text_ttl_s)
        return facts

    def _encode(self, text: PageText) -> Vector | None:
        """Return the page's first vector; None where there are no words, or the encoder fails."""
        started = self._monotonic()
        try:
            vector: Vector = self._encoder.encode([text.for_encoder()])[0]
        except Exception as error:
            # Any runtime's failure costs this page its vector, never its answer; and it may quote the text.
            self.counts.failed += 1
            log.error("page not encoded: %s", type(error).__name__)
            return None
        # The estimate follows slow moments at once and forgets them slowly.
        self._encode_s = max(self._monotonic() - started, 0.9 * self._encode_s)
        return vector if np.any(vector) else None

    def _understand(
        self, content: str, text: PageText, vector: Vector | None, page: PageInput, publisher: Publisher
    ) -> PageFacts:
        facts = understand(
            text,
            vector,
            self.model,
            self._vocabulary,
            categories=page.categories,
            cattax=page.cattax,
            publisher_categories=publisher.categories,
        )
        words = len(text.for_encoder().split(maxsplit=ENOUGH_WORDS))
        return replace(facts, content_hash=content, confidence=min(1.0, words / ENOUGH_WORDS))

    def _improve(self, text: PageText, first: PageFacts) -> None:
        vector = self._better(text)
        if np.any(vector):
            self.counts.better += 1
            self._keep(replace(self._facts.get(first.content_hash) or first, vector=vector, better=True))

    def _keep(self, facts: PageFacts) -> None:
        self._facts.put(facts.content_hash, facts)
        if facts.vector is not None:
            self._unsaved.append(facts)

    def _define(self, publisher: str, url: str, facts: PageFacts) -> None:
        if MASK in url:  # it stands for many pages
            return
        key = (publisher, self._url_hash(url))
        if self._urls.get(key) != facts.content_hash:
            self._urls.put(key, facts.content_hash)
            self._undefined.append((*key, facts.content_hash))

    def _by_url(self, publisher: Publisher, url: str | None) -> PageFacts | None:
        if url is None or MASK in url:
            return None
        key = (publisher.id, self._url_hash(url))
        facts = self._facts.get(self._urls.get(key, ""))
        if self._fetch is not None and publisher.fetch:
            asked = self._asked.get(key)
            again = ASK_AGAIN_S if facts is None else FETCH_AGAIN_S
            if asked is None or self._monotonic() - asked > again:
                self._asked.put(key, self._monotonic())
                self.fetching.submit(lambda: self._fetch_page(publisher, url), FETCH_WITHIN_S)
        return facts

    def _fetch_page(self, publisher: Publisher, url: str) -> None:
        if self._fetch is None:
            return
        try:
            text = self._fetch(url, publisher.domains)
        except ContextError as error:
            self.counts.fetches_failed += 1
            log.info("page not fetched: %s", type(error).__name__)
            return
        self.counts.fetched += 1
        page = PageInput()
        content = _hash(publisher.id, text.content_hash, str(page.cattax))
        better = self._better(text)
        facts = self._understand(content, text, better if np.any(better) else None, page, publisher)
        facts = replace(facts, better=True)
        self._keep(facts)
        self._define(publisher.id, url, facts)

    def _nothing(self, page: PageInput) -> PageFacts:
        language = page.language[:2].lower() if page.language else None
        return PageFacts(f"unknown-{language or ''}", self._encoder.id, None, language=language)

    def _hash_of_sent(self, publisher: str, page: PageInput) -> str:
        said = (page.title, page.description, page.text, page.html, page.language, str(page.cattax))
        return _hash(publisher, *(part or "" for part in said), *page.keywords, "", *page.categories)


def _hash(*parts: str) -> str:
    """Return 32 hex digits over the parts; where one ends and the next begins is part of it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
