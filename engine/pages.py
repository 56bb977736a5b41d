"""What is known of pages: facts by content, URLs by who may define them. Text passes through and is let go.

What a browser sends is known by its content alone; what a URL means is said only by our own fetch or by an
authenticated call of the publisher's server, else one reader's page would define it for all.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from msgspec.structs import replace as replace_fields

from contexts.context import PageFacts, Vector
from contexts.encode import Encoder
from contexts.errors import ContextError
from contexts.extract import PageText, read
from contexts.keyphrases import Vocabulary
from contexts.page import TopicModel, understand
from engine.background import Background
from engine.cache import Bounded
from engine.campaign import Publisher
from engine.errors import Forgotten
from privacy.page_url import MASK
from privacy.visit import LetGo, PageInput, Visit

log = logging.getLogger(__name__)

T = TypeVar("T")

ENOUGH_WORDS = 6  # a text of fewer different words is trusted less
ENCODE_S = 0.01  # what encoding is taken to need before it was measured
WAITING = 1000  # texts and URLs that wait for work off the path, at most
UNSAVED = 10_000  # facts and URLs that wait for a store that does not answer, at most
TTL_SHARE = 0.9  # of a text's time, in which work on it must begin: the rest is for the work itself
FETCH_WITHIN_S = 300.0
ASK_AGAIN_S = 600.0  # after a fetch that brought nothing, or that looked for other phrases
FETCH_AGAIN_S = 86_400.0
POLL_BATCH = 1000
OVERLAP = timedelta(seconds=60)  # a URL may be committed so long after the time that stands beside it
PLAIN = 0.6  # a short text is of a foreign language where the detector is so sure
PLAIN_CHARS = 80  # of longer ones it is always right (568 of 568 texts of 20 words)

# Words, and each sign of the scripts that put no spaces between them.
_WORD = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\\W_]+")


class PageStore(Protocol):
    """Where page facts outlive a process, and reach the other workers."""

    def put_pages(self, pages: list[PageFacts], now: datetime) -> None:
        """Keep facts by their content hash."""

    def pages_since(self, seq: int, limit: int = POLL_BATCH) -> list[tuple[int, PageFacts]]:
        """Return (number, facts) of what was kept after `seq`."""

    def last_page(self) -> int:
        """Return the number of the facts kept last."""

    def put_page_urls(self, urls: list[tuple[str, str, str]], now: datetime) -> None:
        """Say which content URLs stand for: (publisher, hash of URL, content hash)."""

    def page_urls(self, since: datetime | None = None) -> Iterator[tuple[str, str, str]]:
        """Yield (publisher, hash of URL, content hash) of what was said since then, the latest last."""


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


@dataclass(frozen=True, slots=True)
class _Said:
    """What is needed to understand a page, and to do so again within its time."""

    text: PageText
    categories: tuple[str, ...]
    cattax: int
    publisher: Publisher


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """What pages are looked through for, and which of them were: both are replaced together."""

    phrases: frozenset[str]
    vocabulary: Vocabulary
    sent: Bounded[str, str]  # hash of what was sent → content
    since: float  # of the monotonic clock


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
        self._most = most
        self._reading = _Reading(frozenset(), model.vocabulary(()), Bounded(most), monotonic())
        self._facts: Bounded[str, PageFacts] = Bounded(most)  # by content
        self._urls: Bounded[tuple[str, str], str] = Bounded(most)  # (publisher, hash of URL) → content
        # URLs whose fetch was asked for, and when
        self._asked: Bounded[tuple[str, str], float] = Bounded(most)
        self._improving: Bounded[str, float] = Bounded(most)  # content → when it may be asked for again
        self._named: Bounded[tuple[str, ...], Vector] = Bounded(4096)  # topics → vector of their names
        self._unknown: Bounded[str, PageFacts] = Bounded(256)  # by language
        self._in_hand: dict[str, threading.Event] = {}  # what is being read, by what was sent
        self._unsaved: deque[PageFacts] = deque(maxlen=UNSAVED)
        self._undefined: deque[tuple[str, str, str]] = deque(maxlen=UNSAVED)
        self._seen = 0
        self._polled: datetime | None = None
        self._encode_s = ENCODE_S

    def facts(self, visit: Visit, publisher: Publisher, deadline: float) -> PageFacts:
        """Return what is known of the visit's page, understanding it first where it is new.

        Where the time left does not suffice to encode, the facts are pending, and encoding follows off the path.
        Raises Forgotten where the page's words were let go and something is to be done with them.
        """
        page = visit.page
        if page.let_go is not None:
            return self._recalled(visit, page.let_go, publisher)
        whole = bool(page.text or page.html)
        by_url = self._by_url(publisher, page.url) if page.url and not whole else None
        if by_url is not None:
            self.counts.known += 1
            return by_url
        if not (whole or page.title or page.description or page.keywords or page.categories):
            self.counts.unknown += 1
            return self._nothing(page)
        sent = _hash_of_sent(publisher.id, page)
        facts = self._facts.get(self._reading.sent.get(sent, ""))
        if facts is None or facts.pending:
            facts = self._read_once(sent, page, publisher, deadline)
        else:
            self.counts.known += 1
            if not facts.better and self._may_improve(facts.content_hash):
                said = _Said(read(page), page.categories, page.cattax, publisher)
                self._have_improved(facts.content_hash, said)
        if visit.trusted and whole and page.url:
            self._define(publisher.id, page.url, facts)
        return facts

    def _recalled(self, visit: Visit, gone: LetGo, publisher: Publisher) -> PageFacts:
        """Return what is known of a page whose words were let go. Raises Forgotten."""
        url = visit.page.url
        facts = self._by_url(publisher, url) if url and not gone.whole else None
        if facts is None:
            facts = self._facts.get(self._reading.sent.get(gone.digest, ""))
            if facts is None or facts.pending:
                raise Forgotten
            if not facts.better and self._may_improve(facts.content_hash):
                raise Forgotten
        self.counts.known += 1
        if visit.trusted and gone.whole and url:
            self._define(publisher.id, url, facts)
        return facts

    def use_phrases(self, phrases: frozenset[str]) -> None:
        """Look for these phrases (campaign keywords, brands) from now on; pages are read anew on their next view."""
        if phrases != self._reading.phrases:
            vocabulary = self.model.vocabulary(sorted(phrases))
            self._reading = _Reading(phrases, vocabulary, Bounded(self._most), self._monotonic())

    def poll(self) -> None:
        """Keep what was learned here, learn what other workers kept. What the store does not take is kept for later."""
        now = self._now()
        # Learn first: what is then kept is the better of both.
        while batch := self._store.pages_since(self._seen):
            for seq, facts in batch:
                self._learn(facts)
                self._seen = seq
        # A time to the second would tell when somebody read a page: what a page says is kept to the day.
        minute = now.replace(second=0, microsecond=0)
        day = minute.replace(hour=0, minute=0)
        _save(self._unsaved, lambda pages: self._store.put_pages(self._latest(pages), day))
        _save(self._undefined, lambda urls: self._store.put_page_urls(list(dict.fromkeys(urls)), minute))
        since = (
            (self._polled - OVERLAP).replace(second=0, microsecond=0) if self._polled is not None else None
        )
        for publisher, url, content in self._store.page_urls(since):
            self._urls.put((publisher, url), content)
        self._polled = now

    def load(self) -> None:
        """Learn what earlier processes kept, as much of it as there is room for."""
        self._seen = max(0, self._store.last_page() - self._most)
        self.poll()

    def known(self) -> list[PageFacts]:
        """Return the facts of all pages in memory."""
        return self._facts.values()

    def _latest(self, pages: list[PageFacts]) -> list[PageFacts]:
        """Return each page once, with what is known of it by now."""
        by_content = {facts.content_hash: facts for facts in pages}
        return [self._facts.get(content) or facts for content, facts in by_content.items()]

    def _learn(self, facts: PageFacts) -> None:
        """Take another worker's vector where it is better; what this one read with its own phrases stays."""
        if facts.encoder_id != self._encoder.id:
            return
        mine = self._facts.get(facts.content_hash)
        if mine is None:
            self._facts.put(facts.content_hash, facts)
        elif mine.vector is None:
            self._facts.put(facts.content_hash, replace(facts, keyphrases=mine.keyphrases))
        elif facts.better and not mine.better:
            self._facts.put(facts.content_hash, replace(mine, vector=facts.vector, better=True))

    def _read_once(self, sent: str, page: PageInput, publisher: Publisher, deadline: float) -> PageFacts:
        """Read a page; where another thread has it in hand, wait for that one until the deadline."""
        mine = threading.Event()
        other = self._in_hand.setdefault(sent, mine)
        if other is not mine:
            other.wait(max(0.0, deadline - self._monotonic()))
            facts = self._facts.get(self._reading.sent.get(sent, ""))
            return facts if facts is not None else self._first_view(sent, page, publisher, deadline)
        try:
            return self._first_view(sent, page, publisher, deadline)
        finally:
            self._in_hand.pop(sent, None)
            mine.set()

    def _first_view(self, sent: str, page: PageInput, publisher: Publisher, deadline: float) -> PageFacts:
        reading = self._reading
        said = _Said(read(page), page.categories, page.cattax, publisher)
        content = _hash(publisher.id, said.text.content_hash, str(page.cattax), *page.categories)
        facts = self._understand(content, said, reading, self._facts.get(content), deadline)
        self.counts.first_views += 1
        self.counts.without_vector += facts.pending
        self._keep(facts)
        reading.sent.put(sent, content)
        if not facts.better and self._may_improve(content):
            self._have_improved(content, said)
        return facts

    def _understand(
        self,
        content: str,
        said: _Said,
        reading: _Reading,
        known: PageFacts | None,
        deadline: float,
    ) -> PageFacts:
        """Read a text; its vector is the known one, or made if there is time for it until the deadline.

        A text that the encoder does not read, or of no words, is known by the names of the topics that its publisher
        states.
        """
        text = said.text
        words = text.for_encoder()
        language = self.model.detector.decide(text.language, words)
        confidence = _confidence(words)
        legible = confidence > 0 and not self._is_foreign(language[0], text)
        vector, pending = (known.vector, False) if known is not None else (None, False)
        if vector is None and legible:
            vector, pending = self._encode(words, deadline)
        categories = {name.casefold(): topic for name, topic in said.publisher.categories.items()}
        facts = understand(
            text,
            vector if legible else None,
            self.model,
            reading.vocabulary,
            categories=said.categories,
            cattax=said.cattax,
            publisher_categories=categories,
            language=language,
        )
        notes = facts.notes
        if not legible:
            self._improving.put(content, math.inf)
            if vector is None:
                vector, pending = self._by_name(facts, deadline)
            if vector is not None:
                confidence, notes = 1.0, (*notes, "matched by the names of its stated topics")
        return replace(
            facts,
            content_hash=content,
            vector=vector,
            confidence=confidence,
            better=known is not None and known.vector is not None and known.better,
            pending=pending,
            notes=notes,
        )

    def _is_foreign(self, language: str | None, text: PageText) -> bool:
        """Say whether a text is plainly of a language that the encoder does not read; of few words nobody knows."""
        if language is None or self.model.understands(language):
            return False
        words = text.for_encoder()
        return (
            bool(text.language) or len(words) >= PLAIN_CHARS or self.model.detector.detect(words)[1] >= PLAIN
        )

    def _by_name(self, facts: PageFacts, deadline: float) -> tuple[Vector | None, bool]:
        """Return the vector of the names of a page's lowest topics, and whether it is still to be made."""
        taxonomy = self.model.taxonomy
        above = {parent for topic in facts.topics for parent in taxonomy.ancestors(topic.id)}
        topics = tuple(sorted(topic.id for topic in facts.topics if topic.id not in above))
        if not topics:
            return None, False
        vector = self._named.get(topics)
        if vector is not None:
            return vector, False
        vector, pending = self._encode(". ".join(map(taxonomy.path, topics)), deadline)
        if vector is not None:
            self._named.put(topics, vector)
        return vector, pending

    def _encode(self, words: str, deadline: float) -> tuple[Vector | None, bool]:
        """Return the first vector of a text, and whether it is still to be made: no time left, or a fault."""
        started = self._monotonic()
        if started + self._encode_s >= deadline:
            if started < deadline:
                self._encode_s *= 0.9  # else one slow moment would end encoding for good
            return None, True
        try:
            vector: Vector = self._encoder.encode([words])[0]
        except Exception as error:
            # Any runtime's failure costs this page its vector, never its answer; and it may quote the text.
            self.counts.failed += 1
            log.error("page not encoded: %s", type(error).__name__)
            return None, True
        # A running mean: one slow moment must not cost the next pages their vectors.
        self._encode_s += 0.2 * (self._monotonic() - started - self._encode_s)
        return (vector, False) if np.any(vector) else (None, False)

    def _may_improve(self, content: str) -> bool:
        return self._text_ttl_s > 0 and self._monotonic() >= self._improving.get(content, -math.inf)

    def _have_improved(self, content: str, said: _Said) -> None:
        if said.text.for_encoder() and self.background.submit(
            lambda: self._improve(content, said), self._text_ttl_s * TTL_SHARE
        ):
            self._improving.put(content, self._monotonic() + self._text_ttl_s)

    def _improve(self, content: str, said: _Said) -> None:
        """Replace a page's first vector by the better one; a page that was not encoded is understood first."""
        first = self._facts.get(content)
        if first is None or first.pending:
            first = self._understand(content, said, self._reading, None, math.inf)
            self._keep(first)
        if first.vector is None or self._improving.get(content) == math.inf:
            return
        vector = self._better(said.text)
        if np.any(vector):
            self.counts.better += 1
            self._keep(replace(self._facts.get(content) or first, vector=vector, better=True, pending=False))

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

    def _by_url(self, publisher: Publisher, url: str) -> PageFacts | None:
        if MASK in url:
            return None
        key = (publisher.id, self._url_hash(url))
        facts = self._facts.get(self._urls.get(key, ""))
        if self._fetch is not None and publisher.fetch:
            asked = self._asked.get(key, -math.inf)
            stale = facts is None or asked < self._reading.since
            if self._monotonic() - asked > (ASK_AGAIN_S if stale else FETCH_AGAIN_S):
                self._asked.put(key, self._monotonic())
                self.fetching.submit(partial(self._fetch_page, self._fetch, publisher, url), FETCH_WITHIN_S)
        return facts

    def _fetch_page(self, fetch: Fetch, publisher: Publisher, url: str) -> None:
        try:
            text = fetch(url, publisher.domains)
        except ContextError as error:
            self.counts.fetches_failed += 1
            log.info("page not fetched: %s", type(error).__name__)
            return
        self.counts.fetched += 1
        page = PageInput()
        said = _Said(text, page.categories, page.cattax, publisher)
        content = _hash(publisher.id, text.content_hash, str(page.cattax))
        self._improving.put(content, -math.inf)
        self._keep(self._understand(content, said, self._reading, self._facts.get(content), math.inf))
        self._define(publisher.id, url, self._facts.get(content) or self._nothing(page))
        self._improve(content, said)

    def _nothing(self, page: PageInput) -> PageFacts:
        language = page.language[:2].lower() if page.language else ""
        facts = self._unknown.get(language)
        if facts is None:
            facts = PageFacts(f"unknown-{language}", self._encoder.id, None, language=language or None)
            self._unknown.put(language, facts)
        return facts


def without_words(visit: Visit) -> Visit:
    """Let the words of a visit's page go; `Pages.facts` finds what was made of them."""
    page = visit.page
    gone = LetGo(_hash_of_sent(visit.publisher, page), bool(page.text or page.html))
    return replace_fields(visit, page=PageInput(url=page.url, let_go=gone))


def _hash_of_sent(publisher: str, page: PageInput) -> str:
    said = (page.title, page.description, page.text, page.html, page.language, str(page.cattax))
    many = str(len(page.keywords))  # where they end and the categories begin
    return _hash(publisher, *(part or "" for part in said), many, *page.keywords, *page.categories)


def _save(waiting: deque[T], put: Callable[[list[T]], None]) -> None:
    """Take all that waits and put it; what cannot be put waits on."""
    taken: list[T] = []
    while waiting:
        taken.append(waiting.popleft())
    if not taken:
        return
    try:
        put(taken)
    except Exception:
        waiting.extendleft(reversed(taken))
        raise


def _confidence(words: str) -> float:
    """Return how far a text's vector is to be trusted by how many different words it has."""
    different: set[str] = set()
    for found in _WORD.finditer(words[:4000]):
        different.add(found.group().lower())
        if len(different) == ENOUGH_WORDS:
            return 1.0
    return len(different) / ENOUGH_WORDS


def _hash(*parts: str) -> str:
    """Return 32 hex digits over the parts; where one ends and the next begins is part of it."""
    told: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        told += (len(data).to_bytes(8, "little"), data)
    return hashlib.blake2b(b"".join(told), digest_size=16).hexdigest()
