"""Consent records in the form of DPV 2.3: every term is one of the vocabulary's, every required field is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from privacy.consent import PURPOSES, State
from privacy.errors import ErasureError
from privacy.records import CONTEXT, SCHEMA, Event, Notice, Opening, Party, decode, encode, json_ld

# Terms of https://w3id.org/dpv 2.3 that records use: classes and properties, as its CSV files list them.
DPV = {
    *("ConsentRecord", "DataSubject", "User", "DataController", "DataProcessor", "Process", "Purpose"),
    *(
        "PersonalData",
        "PseudonymisedData",
        "Optional",
        "StorageDuration",
        "StorageDeletion",
        "StorageLocation",
    ),
    *("UntilTimeDuration", "ConsentNotice", "ProvideConsent", "WithdrawConsent", "DataSubjectRight"),
    *("ExpressedConsent", "PersonalisedAdvertising", "TargetedAdvertising", "Advertising"),
    *("ServiceUsageAnalytics", "ConsentGiven", "RenewedConsentGiven", "ConsentRefused", "ConsentWithdrawn"),
    *("ConsentExpired", "ConsentInvalidated", "hasDataSubject", "hasDataController", "hasDataProcessor"),
    *("hasJurisdiction", "hasApplicableLaw", "hasLegalBasis", "hasProcess", "hasPurpose", "hasPersonalData"),
    *("hasNecessity", "hasRecipient", "hasStorageCondition", "hasDuration", "hasLocation", "hasNotice"),
    *("hasConsentControl", "isExercisedAt", "hasRight", "hasConsentStatus", "isIndicatedBy"),
    *("isIndicatedAtTime", "hasIndicationMethod", "hasName", "hasIdentifier", "hasContact"),
}
OTHERS = {
    "eu": {"law-GDPR"},
    "eu-gdpr": {"A6-1-a", "A7-3", "A15", "A17", "A20", "A77"},
    "pd": {"Interest", "BrowsingBehaviour", "UID"},
    "loc": {"DE", "EU"},
    "dct": {
        *("identifier", "conformsTo", "hasVersion", "language", "title", "description", "date"),
    },
    "skos": {"broader"},
    "xsd": {"dateTime"},
    "tactful": {"opening", "index", "record", "key", "leaf", "proof"},
}
REQUIRED = (
    *(
        "dct:identifier",
        "dct:conformsTo",
        "dpv:hasDataSubject",
        "dpv:hasDataController",
        "dpv:hasJurisdiction",
    ),
    *("dpv:hasProcess", "dpv:hasNotice", "dpv:hasConsentControl", "dpv:hasRight", "dpv:hasConsentStatus"),
)


def event(state: State = "ConsentGiven", **more: Any) -> Event:
    given = state in ("ConsentGiven", "RenewedConsentGiven")
    said = {
        "record": "0b7e7dee-87b1-4a70-9d4f-3f6a5c1d2e3f",
        "state": state,
        "at": "2026-11-23T18:05:00Z",
        "generation": 1,
        "publisher": "planet",
        "controller": Party("The Plänet", "https://www.planet.test", "DE"),
        "processor": Party("Tactful", "https://ads.example"),
        "purposes": tuple(sorted(PURPOSES)) if given else (),
        "expires": "2027-05-22T18:05:00Z",
        "keep_days": 1095,
        "notice": Notice("ab" * 32, "de", "7") if given else None,
        "expressed_by": "button" if given else None,
    }
    return Event(**said | more)


def opening(index: int = 0) -> Opening:
    return Opening(index, "{}", "00" * 32, "{}", None)


def told(*events: Event) -> dict[str, Any]:
    openings = [opening(index) for index in range(len(events))]
    return json_ld(events, openings, subject="reader", service_url="https://ads.example")


def terms(value: Any, key: str = "") -> Iterator[str]:
    """Yield each name of a prefix, of keys, types and references."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if ":" in name:
                yield name
            yield from terms(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from terms(inner, key)
    elif key in ("@id", "@type") and isinstance(value, str) and not value.startswith(("https:", "urn:")):
        yield value


def test_every_term_is_of_its_vocabulary():
    whole = told(*(event(state) for state in get_args(State)))
    used = {term for record in whole["@graph"] for term in terms(record)}
    assert len(used) > 50
    for term in used:
        prefix, _, name = term.partition(":")
        assert prefix in CONTEXT, term
        assert name in (DPV if prefix == "dpv" else OTHERS[prefix]), term


def test_a_record_has_what_27560_requires():
    [record] = told(event())["@graph"]
    assert record["@type"] == "dpv:ConsentRecord" and record["dct:conformsTo"] == {"@id": SCHEMA}
    for field in REQUIRED:
        assert record[field], field
    assert len(record["dpv:hasProcess"]) == len(PURPOSES)
    for process in record["dpv:hasProcess"]:
        for field in ("dpv:hasPurpose", "dpv:hasPersonalData", "dpv:hasStorageCondition", "dpv:hasRecipient"):
            assert process[field]


def test_events_of_one_consent_are_one_record_and_of_two_are_two():
    other = event(record="11111111-87b1-4a70-9d4f-3f6a5c1d2e3f")
    first, second = told(event(), event("ConsentWithdrawn"), other)["@graph"]
    assert [len(record["dpv:hasConsentStatus"]) for record in (first, second)] == [2, 1]
    # What was agreed stays told after its withdrawal.
    assert len(first["dpv:hasProcess"]) == len(PURPOSES) and len(first["dpv:hasNotice"]) == 1


def test_who_spoke_is_told_of_each_event():
    [record] = told(event(), event("ConsentExpired"))["@graph"]
    assert [status["dpv:isIndicatedBy"]["@id"] for status in record["dpv:hasConsentStatus"]] == [
        "dpv:DataSubject",
        "dpv:DataController",
    ]


def test_an_event_is_read_as_it_was_written_and_anything_else_is_refused():
    assert decode(encode(event())) == event()
    assert encode(event()) == encode(decode(encode(event())))
    for record in (b"", b"{}", encode(event()).replace(b"ConsentGiven", b"Whatever")):
        with pytest.raises(ErasureError):
            decode(record)


def test_the_export_is_json():
    assert msgspec.json.decode(msgspec.json.encode(told(event()))) == msgspec.to_builtins(told(event()))
