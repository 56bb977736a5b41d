"""The inventory lists what the gate reads and what a visit holds, and its records are written from it."""

from __future__ import annotations

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from msgspec.structs import fields

import privacy
from privacy.gate import CARDINALITIES, Arrival
from privacy.inventory import SECTIONS, UNSTATED, Parties, export, load, read
from privacy.visit import PageInput, Visit

INVENTORY: dict[str, Any] = yaml.safe_load(
    (Path(privacy.__file__).parent / "inventory.yaml").read_text("utf-8")
)
PARTIES = Parties("Example Media, Berlin", "dpo@example.com", ("Daily Planet", "Globe"))


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


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("key", ["says", "activity", "category", "retention"])
def test_an_entry_without_an_annotation_is_refused_by_name(section: str, key: str) -> None:
    raw = copy.deepcopy(INVENTORY)
    name = next(iter(raw[section]))
    del raw[section][name][key]
    with pytest.raises(ValueError, match=key) as refused:
        read(raw)
    assert f"{section}.{name}" in str(refused.value)


@pytest.mark.parametrize("key", ["activity", "category"])
def test_an_unknown_annotation_is_refused(key: str) -> None:
    raw = copy.deepcopy(INVENTORY)
    raw["kept"]["consents"][key] = "unheard-of"
    with pytest.raises(ValueError, match="unheard-of"):
        read(raw)


def test_every_activity_and_category_is_used() -> None:
    inventory = load()
    assert {item.activity for item in inventory.items} == inventory.activities.keys()
    assert {item.category for item in inventory.items} == inventory.categories.keys()


def test_what_relates_to_a_person_is_kept_for_a_stated_time() -> None:
    inventory = load()
    for item in inventory.items:
        if item.category in inventory.personal and item.section in ("kept", "beside"):
            assert item.retention not in ("for good", "for ever"), item.name


def test_the_records_of_article_30_are_told_as_a_table() -> None:
    rows = list(csv.DictReader(io.StringIO(export(load(), PARTIES, "csv"))))
    assert [row["activity"] for row in rows] == [a.title for a in load().activities.values()]
    assert {row["record"] for row in rows} == {"Art. 30(1)", "Art. 30(2)"}
    for row in rows:
        processed = row["record"] == "Art. 30(2)"
        assert row["controller"] == ("Daily Planet; Globe" if processed else "Example Media, Berlin")
        assert row["processor"] == ("Example Media, Berlin" if processed else "")
        assert row["data protection officer"] == "dpo@example.com"
        for required in (
            "purpose",
            "data subjects",
            "categories of data",
            "recipients",
            "security",
            "legal basis",
        ):
            assert row[required], (row["activity"], required)
    assert (
        "kept.consent_events (seq, subject, ct)"
        in {r["activity"]: r for r in rows}["Record consents and refusals, and do what readers ask for"][
            "where"
        ]
    )


def test_no_cell_of_the_table_is_a_formula() -> None:
    parties = Parties("=cmd|'/c calc'!A1", "@SUM(A1)", ("+1", "-1"))
    for row in csv.reader(io.StringIO(export(load(), parties, "csv"))):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_the_records_are_told_as_json_ld() -> None:
    document = json.loads(export(load(), PARTIES, "jsonld"))
    nodes = {node["@id"]: node for node in document["@graph"]}
    assert len(nodes) == len(document["@graph"])
    for name, activity in load().activities.items():
        node = nodes[f"#{name}"]
        assert node["dpv:hasPurpose"] == activity.purpose
        controllers = node["dpv:hasDataController"]
        for controller in controllers if isinstance(controllers, list) else [controllers]:
            assert controller["@id"] in nodes
        assert ("dpv:hasDataProcessor" in node) == (activity.role == "processor")
    held = {part["@id"] for node in nodes.values() for part in node.get("dpv:hasPersonalData", ())}
    assert {"#kept.consents", "#beside.data/shared.db/shared_values"} <= held
    assert "#kept.vectors" not in held


def test_the_draft_of_an_assessment_has_the_parts_of_article_35_and_leaves_open_what_it_cannot_know() -> None:
    draft = export(load(), Parties(), "dpia")
    for part in ("(Art. 35(7)(a))", "(Art. 35(7)(b))", "(Art. 35(7)(c))", "(Art. 35(7)(d))"):
        assert part in draft
    assert f"Operator: {UNSTATED}" in draft
    for risk in load().risks:
        assert risk.risk in draft
    tables = [line for line in draft.splitlines() if line.startswith("|")]
    assert len(tables) > len(load().items)


def test_the_roles_are_told_for_every_activity() -> None:
    told = export(load(), PARTIES, "roles")
    controller, processor = told.split("## ")[1:]
    for activity in load().activities.values():
        assert activity.title in (controller if activity.role == "controller" else processor)


def test_markdown_cannot_be_broken_by_a_name() -> None:
    told = export(load(), Parties("a | b\n# c <script>", None, ("*x*",)), "dpia")
    assert "<script>" not in told.replace("\\<script", "")
    assert "\n# c" not in told


def test_the_picture_is_well_formed_and_names_every_item() -> None:
    picture = export(load(), Parties('<&"', None, ()), "svg")
    root = ElementTree.fromstring(picture)
    text = " ".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}tspan"))
    for item in load().items:
        assert item.name in text, item.name
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.get("x", 0)) + float(box.attrib["width"]) <= width
        assert float(box.get("y", 0)) + float(box.attrib["height"]) <= height
