"""The inventory lists each field that bodies state of readers."""

from __future__ import annotations

from msgspec.structs import fields

from contexts.first_party import Signals
from engine.openrtb.wire import BidRequest
from engine.web import consents, deletions, wire
from privacy.inventory import load


def names(prefix: str, kind: type) -> set[str]:
    return {f"{prefix}.{field.encode_name}" for field in fields(kind)}


def test_the_inventory_lists_what_bodies_state_of_readers() -> None:
    stated = {item.name for item in load().items if item.section == "stated"}
    assert stated == (
        names("consent", wire.ClaimBody)
        | names("regs", wire.RegsBody)
        | names("signals", Signals)
        | names("grant", consents.ConsentBody)
        | names("subject", consents.SubjectBody)
        | names("deletion", deletions.DeletionBody)
        | {f"openrtb.{name}" for name in ("regs", "user", "device")}
    )
    # What bid requests say besides is of page, publisher and placements.
    asked = {field.encode_name for field in fields(BidRequest)}
    assert asked == {
        *("regs", "user", "device"),
        *("id", "imp", "site", "test", "tmax", "cur", "wseat", "bseat", "bcat", "badv", "cattax"),
    }
