"""Invented readers of the demo: they agreed, and share interests, so that what a visitor says may act beside theirs.

What a consenting reader says acts once fifty readers of the week before share it by a noisy count. A demo that has just
begun has nobody. So readers are made up, and take the way of every other: recorded consents, and notes of the week that
are counted, noised and forgotten when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from engine.campaign import Publisher
from engine.config import Config
from engine.consents import Grant
from engine.rights import Rights, RightsStore, open_rights
from engine.shared_values import K, release_query
from privacy.consent import IN_FORCE
from privacy.pseudonym import epoch_of
from privacy.records import Notice

PUBLISHER = "demo"
READERS = 2 * K  # noise of a week takes less than half of them away, but once in 500,000 weeks
INTERESTS: Mapping[str, str] = {  # cohorts of the catalogue's publisher, in words
    "garden": "gardening",
    "kitchen": "cooking",
    "pedals": "cycling",
    "paws": "dogs",
}
NOTICE = (
    "May The Weathervane choose its advertisements also by the interest that you name here? It is kept in this tab "
    "until you close it, and sent along with requests for advertisements on this site alone. You can end it whenever "
    "you like."
)
SHOWN = Notice(text_sha256=sha256(NOTICE.encode()).hexdigest(), language="en", version="demo-1")
GRANT = Grant(
    purposes=frozenset({"ads.select.first_party", "ads.device.first_party"}),
    notice=SHOWN,
    expressed_by="switch on the page",
    days=1,
)
_WEEK = timedelta(days=7)


def make_readers(config: Config, store: RightsStore, now: datetime) -> None:
    """Let the invented readers agree, and be noted last week and this one, where these weeks are still counted.

    Raises KeyringError and StoreError.
    """
    publisher = store.find("publisher", [PUBLISHER])[PUBLISHER]
    assert isinstance(publisher, Publisher)  # noqa: S101 - of this kind all are
    moment = now - _WEEK
    with open_rights(config, store, now=lambda: moment, make_keys=True) as rights:
        rights.log.record()  # keys and policy stand in the log before the first consent does
        for moment in (now - _WEEK, now):
            if rights.weeks.budget.kept(release_query(PUBLISHER, epoch_of(moment))) is None:
                _note(rights, publisher, moment)


def _note(rights: Rights, publisher: Publisher, moment: datetime) -> None:
    pairs = [("cohort", interest) for interest in INTERESTS]
    for number in range(READERS):
        sub = f"invented-reader-of-the-demo-{number:03d}"
        subject = rights.consents.subject_of(PUBLISHER, sub)
        standing = rights.consents.store.standing(PUBLISHER, subject)
        if standing is None or standing.state not in IN_FORCE or standing.expires <= moment:
            rights.consents.grant(publisher, sub, replace(GRANT, days=365))
        rights.weeks.shared.note(PUBLISHER, subject, pairs, moment)
