"""The inventory lists what the gate reads and what a visit holds, neither more nor less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from msgspec.structs import fields

import privacy
from privacy.gate import CARDINALITIES, Arrival
from privacy.visit import PageInput, Visit

INVENTORY: dict[str, Any] = yaml.safe_load(
    (Path(privacy.__file__).parent / "inventory.yaml").read_text("utf-8")
)


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def test_the_inventory_lists_what_the_gate_reads() -> None:
    read = INVENTORY["read"]
    assert {"origin" if name == "cors_origin" else name for name in CARDINALITIES} == read.keys()
    assert names(Arrival) <= read.keys()


def test_the_inventory_states_the_outcomes_that_the_functions_have() -> None:
    for name, count in CARDINALITIES.items():
        if count is not None:
            assert INVENTORY["read"][name]["outcomes"] == count


def test_the_inventory_lists_each_field_of_a_visit() -> None:
    page = {f"page.{name}" for name in names(PageInput)}
    assert INVENTORY["visit"].keys() == (names(Visit) - {"page"}) | page


def test_each_entry_says_what_it_is() -> None:
    for part in ("visit", "kept", "keys", "released"):
        for name, entry in INVENTORY[part].items():
            assert entry["says"], f"{part}.{name}"
    for name, entry in INVENTORY["kept"].items():
        assert entry["columns"], name
        assert "subjects" in entry, name
