"""Consent records after ISO/IEC TS 27560:2023, in the form that the W3C's Data Privacy Vocabulary 2.3 gives them.

What is noted of each change of a consent is an `Event`, whole in itself, so that what was agreed stays readable
when a publisher's name or notice has changed. The record (profile dpv-27560:record-eu-gdpr) is made of a
consent's events when it is asked for: https://w3id.org/dpv/guides/consent-27560
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from privacy.consent import Purpose, State
from privacy.errors import ErasureError

SCHEMA = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
CONTEXT: Mapping[str, str] = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu": "https://w3id.org/dpv/legal/eu#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "pd": "https://w3id.org/dpv/pd#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "tactful": "urn:tactful:",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}

# What each purpose of ours is in the vocabulary, in words, and the personal data that it needs.
_PURPOSES: Mapping[Purpose, tuple[str, str, tuple[str, ...]]] = {
    "ads.select.first_party": (
        "dpv:PersonalisedAdvertising",
        "Choose advertisements by the groups that the publisher itself puts a reader in",
        ("pd:Interest",),
    ),
    "ads.profile.first_party": (
        "dpv:TargetedAdvertising",
        "Keep count of what a reader was shown and how far a decision has come, to choose by it",
        ("pd:Interest", "pd:BrowsingBehaviour"),
    ),
    "ads.device.first_party": (
        "dpv:PersonalisedAdvertising",
        "Keep on the reader's device what advertisements are chosen by",
        ("pd:Interest",),
    ),
    "ads.cap.first_party": (
        "dpv:Advertising",
        "Show a reader the same advertisement no more than so often",
        ("pd:BrowsingBehaviour",),
    ),
    "measure.first_party": (
        "dpv:ServiceUsageAnalytics",
        "Count, with noise, how advertisements did with readers who agreed",
        ("pd:UID",),
    ),
}
_RIGHTS: Sequence[tuple[str, str]] = (
    ("eu-gdpr:A7-3", "Right to withdraw consent"),
    ("eu-gdpr:A15", "Right of access"),
    ("eu-gdpr:A17", "Right to erasure"),
    ("eu-gdpr:A20", "Right to data portability"),
    ("eu-gdpr:A77", "Right to lodge a complaint with a supervisory authority"),
)

# Letters alone hold no address and no number.
Words = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z ._-]{0,79}$(?!\n)",
        description="letters, blanks, dots, hyphens, underscores",
    ),
]


class Notice(Struct, frozen=True, forbid_unknown_fields=True):
    """The exact notice that was shown: the SHA-256 of its text in this language, and the publisher's version."""

    text_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="64 small hex digits")]
    language: Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}$(?!\n)")]  # BCP 47
    version: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$(?!\n)", description="the publisher's name for it"),
    ]


class Party(Struct, frozen=True):
    """Who answers for the processing, or does it."""

    name: str
    url: str  # where it can be reached
    country: str | None = None  # ISO 3166-1 alpha-2


class Event(Struct, frozen=True):
    """One change of a consent: what is sealed beside the log. Times are ISO 8601 in UTC."""

    record: str  # UUID, of all events of one consent
    state: State
    at: str
    generation: int
    publisher: str  # id
    controller: Party
    processor: Party
    purposes: tuple[Purpose, ...]
    expires: str
    keep_days: int  # how long the record is kept after the consent's end
    notice: Notice | None = None  # None where the event answers no notice: a withdrawal, an expiry
    expressed_by: Words | None = None
    strings: tuple[str, ...] = ()  # SHA-256 of the TC and GPP strings that came along, hex


class Opening(Struct, frozen=True):
    """One event as its subject holds it: what was recorded and how to check that the log says the same.

    `commit` of the leaf is HMAC-SHA256 under `key` of the index in eight bytes, big end first, and `record` in
    UTF-8. `proof` shows the leaf in the log (c2sp.org/tlog-proof@v1) where a checkpoint covers it already.
    """

    index: int
    record: str  # the Event as JSON, byte for byte
    key: str  # 32 bytes in hex
    leaf: str
    proof: str | None


def encode(event: Event) -> bytes:
    """Write an event as it is sealed."""
    return msgspec.json.encode(event, order="sorted")


def decode(record: bytes) -> Event:
    """Read an event that was sealed. Raises ErasureError."""
    try:
        return msgspec.json.decode(record, type=Event)
    except msgspec.MsgspecError as error:
        raise ErasureError(f"record: got what is no event of this release ({error})") from error


def json_ld(
    events: Sequence[Event], openings: Sequence[Opening], *, subject: str, service_url: str
) -> dict[str, Any]:
    """Give all that is recorded of a subject as JSON-LD: a record for each of its consents, oldest first.

    `subject` is what the publisher calls its reader, and the caller has proved to be or to act for.
    """
    records: dict[str, list[tuple[Event, Opening]]] = {}
    for event, opening in zip(events, openings, strict=True):
        records.setdefault(event.record, []).append((event, opening))
    return {
        "@context": dict(CONTEXT),
        "@graph": [_record(noted, subject, service_url) for noted in records.values()],
    }


def _record(noted: Sequence[tuple[Event, Opening]], subject: str, service_url: str) -> dict[str, Any]:
    events = [event for event, _ in noted]
    first, last = events[0], events[-1]
    notices = list(dict.fromkeys(event.notice for event in events if event.notice is not None))
    given = next((event for event in reversed(events) if event.purposes), first)
    return {
        "@id": f"urn:uuid:{first.record}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": first.record,
        "dct:conformsTo": {"@id": SCHEMA},
        "dpv:hasDataSubject": {
            "@type": "dpv:DataSubject",
            "skos:broader": {"@id": "dpv:User"},
            "dct:identifier": subject,
        },
        "dpv:hasDataController": _party(last.controller, "dpv:DataController"),
        "dpv:hasDataProcessor": _party(last.processor, "dpv:DataProcessor"),
        "dpv:hasJurisdiction": {"@id": f"loc:{last.controller.country or 'EU'}"},
        "dpv:hasApplicableLaw": {"@id": "eu:law-GDPR"},
        "dpv:hasLegalBasis": {"@id": "eu-gdpr:A6-1-a"},
        "dpv:hasProcess": [_process(purpose, given) for purpose in given.purposes],
        "dpv:hasNotice": [
            {
                "@id": f"urn:sha256:{notice.text_sha256}",
                "@type": "dpv:ConsentNotice",
                "dct:hasVersion": notice.version,
                "dct:language": notice.language,
            }
            for notice in notices
        ],
        "dpv:hasConsentControl": [
            {"@type": "dpv:ProvideConsent", "dpv:isExercisedAt": last.controller.url},
            {
                "@type": "dpv:WithdrawConsent",
                "dpv:isExercisedAt": [last.controller.url, f"{service_url}/v1/consents/withdraw"],
            },
        ],
        "dpv:hasRight": [
            {
                "@type": ["dpv:DataSubjectRight", right],
                "dct:title": title,
                "dpv:isExercisedAt": last.controller.url,
            }
            for right, title in _RIGHTS
        ],
        "dpv:hasConsentStatus": [_status(event, opening) for event, opening in noted],
    }


def _party(party: Party, role: str) -> dict[str, Any]:
    return {
        "@type": role,
        "@id": party.url,
        "dpv:hasName": party.name,
        "dpv:hasIdentifier": party.url,
        "dpv:hasContact": party.url,
    }


def _process(purpose: Purpose, event: Event) -> dict[str, Any]:
    broader, description, data = _PURPOSES[purpose]
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@type": "dpv:Purpose",
            "skos:broader": {"@id": broader},
            "dct:identifier": purpose,
            "dct:description": description,
        },
        "dpv:hasPersonalData": [
            {
                "@type": "dpv:PersonalData",
                "skos:broader": [{"@id": kind}, {"@id": "dpv:PseudonymisedData"}],
                "dpv:hasNecessity": {"@id": "dpv:Optional"},
            }
            for kind in data
        ],
        "dpv:hasRecipient": [
            {"@id": event.controller.url},
            {"@id": event.processor.url},
        ],
        "dpv:hasStorageCondition": [
            {
                "@type": "dpv:StorageDuration",
                "dpv:hasDuration": {
                    "@type": "dpv:UntilTimeDuration",
                    "dct:date": {"@type": "xsd:dateTime", "@value": event.expires},
                },
            },
            {"@type": "dpv:StorageDeletion", "dpv:hasDuration": f"P{event.keep_days}D"},
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": event.processor.url},
        ],
    }


def _status(event: Event, opening: Opening) -> dict[str, Any]:
    by_reader = event.state in ("ConsentGiven", "RenewedConsentGiven", "ConsentWithdrawn")
    status: dict[str, Any] = {
        "@type": [f"dpv:{event.state}"],
        "dpv:isIndicatedBy": {"@id": "dpv:DataSubject" if by_reader else "dpv:DataController"},
        "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime", "@value": event.at},
        "tactful:opening": {f"tactful:{name}": value for name, value in msgspec.to_builtins(opening).items()},
    }
    if event.state in ("ConsentGiven", "RenewedConsentGiven"):
        status["@type"].append("dpv:ExpressedConsent")
        status["dpv:hasDuration"] = {
            "@type": "dpv:UntilTimeDuration",
            "dct:date": {"@type": "xsd:dateTime", "@value": event.expires},
        }
    if event.expressed_by is not None:
        status["dpv:hasIndicationMethod"] = event.expressed_by
    if event.purposes:
        status["dpv:hasPurpose"] = [{"dct:identifier": purpose} for purpose in event.purposes]
    return status
