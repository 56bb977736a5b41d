"""The records that data protection law asks for, written from the inventory: GDPR Articles 30 and 35.

The inventory (inventory.yaml) says of every field that is read, kept, logged or answered what it is for. What
it says is told here in five forms; what only the controller can know is left open, and marked so.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from textwrap import wrap
from typing import Any, Literal

import yaml

Format = Literal["csv", "jsonld", "dpia", "roles", "svg"]

COMING_IN = ("read", "stated", "visit")
SECTIONS = (*COMING_IN, "kept", "beside", "files", "logged", "released")
UNSTATED = "TO BE STATED"  # what the configuration leaves open
_BASES = {
    "A6-1-a": "consent (Art. 6(1)(a))",
    "A6-1-b": "contract (Art. 6(1)(b))",
    "A6-1-c": "legal obligation (Art. 6(1)(c))",
    "A6-1-f": "legitimate interests (Art. 6(1)(f))",
    "none": "no personal data is processed",
}
_COLUMNS = (
    "record",
    "activity",
    "purpose",
    "controller",
    "processor",
    "contact",
    "data protection officer",
    "data subjects",
    "categories of data",
    "recipients",
    "transfers to third countries",
    "time limits for erasure",
    "security",
    "legal basis",
    "where",
)


@dataclass(frozen=True, slots=True)
class Parties:
    """Who answers for an installation, from its configuration."""

    operator: str | None = None  # name and address of who runs it
    officer: str | None = None  # how to reach the data protection officer
    publishers: tuple[str, ...] = ()  # on whose behalf readers' requests are answered


@dataclass(frozen=True, slots=True)
class Activity:
    """A processing activity."""

    name: str
    title: str
    role: Literal["controller", "processor"]
    purpose: str
    basis: tuple[str, ...]  # keys of _BASES
    subjects: str
    recipients: str
    transfers: str
    security: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """What is read, kept, logged or answered at one place."""

    section: str  # of SECTIONS
    name: str
    says: str
    activity: str
    category: str
    retention: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Risk:
    """A risk to data subjects, with what meets it and what shows that."""

    risk: str
    likelihood: str
    severity: str
    measure: str
    shown_by: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The annotated file, read."""

    activities: Mapping[str, Activity]
    categories: Mapping[str, str]  # name → what it is
    personal: frozenset[str]  # the categories that relate to a person
    items: tuple[Item, ...]
    risks: tuple[Risk, ...]
    never: tuple[str, ...]  # what is never collected

    def of(self, activity: str) -> list[Item]:
        """Return the items of an activity."""
        return [item for item in self.items if item.activity == activity]


@cache
def load() -> Inventory:
    """Read the inventory that comes with the package."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is ten times faster
    text = files("privacy").joinpath("inventory.yaml").read_text("utf-8")
    return read(yaml.load(text, Loader=loader))  # noqa: S506 - either is a SafeLoader


def read(raw: Mapping[str, Any]) -> Inventory:
    """Make the inventory of its YAML. Raises ValueError that names an entry which lacks an annotation."""
    activities = {
        name: Activity(
            name,
            _text(entry, "title", name),
            role=entry["role"],
            purpose=_text(entry, "purpose", name),
            basis=tuple(entry["basis"]),
            subjects=_text(entry, "subjects", name),
            recipients=_text(entry, "recipients", name),
            transfers=_text(entry, "transfers", name),
            security=tuple(entry["security"]),
        )
        for name, entry in raw["activities"].items()
    }
    categories = {name: _text(entry, "says", name) for name, entry in raw["categories"].items()}
    items = tuple(_items(raw))
    for item in items:
        place = f"{item.section}.{item.name}"
        if item.activity not in activities:
            raise ValueError(
                f"{place}: activity: got {item.activity!r}, expected one of {', '.join(activities)}"
            )
        if item.category not in categories:
            raise ValueError(
                f"{place}: category: got {item.category!r}, expected one of {', '.join(categories)}"
            )
    for activity in activities.values():
        for basis in activity.basis:
            if basis not in _BASES:
                raise ValueError(
                    f"{activity.name}: basis: got {basis!r}, expected one of {', '.join(_BASES)}"
                )
    return Inventory(
        activities,
        categories,
        frozenset(name for name, entry in raw["categories"].items() if entry["personal"]),
        items,
        tuple(Risk(**risk) for risk in raw["risks"]),
        tuple(raw["never"]),
    )


def _items(raw: Mapping[str, Any]) -> Iterator[Item]:
    for section in SECTIONS:
        for name, entry in raw[section].items():
            place = f"{section}.{name}"
            yield Item(
                section,
                name,
                says=_text(entry, "says", place),
                activity=_text(entry, "activity", place),
                category=_text(entry, "category", place),
                retention=_text(entry, "retention", place),
                fields=tuple(entry.get("columns") or entry.get("fields") or ()),
            )


def _text(entry: Mapping[str, Any], key: str, place: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{place}: {key}: got {value!r}, expected words")
    return value


def export(inventory: Inventory, parties: Parties, format: Format) -> str:
    """Write the inventory in a form: both records of Article 30, the draft of a DPIA, the roles, or a picture."""
    writers = {"csv": to_csv, "jsonld": to_jsonld, "dpia": to_dpia, "roles": to_roles, "svg": to_svg}
    return writers[format](inventory, parties)


# --- the records of processing, Article 30 ---


def _records(inventory: Inventory, parties: Parties) -> Iterator[dict[str, Sequence[str]]]:
    """Yield a row for each activity: the controller's record (30(1)) or the processor's (30(2))."""
    operator = parties.operator or UNSTATED
    for activity in inventory.activities.values():
        items = inventory.of(activity.name)
        controls = activity.role == "controller"
        yield {
            "record": ["Art. 30(1)" if controls else "Art. 30(2)"],
            "activity": [activity.title],
            "purpose": [activity.purpose],
            "controller": [operator] if controls else list(parties.publishers) or ["the publishers served"],
            "processor": [] if controls else [operator],
            "contact": [operator],
            "data protection officer": [parties.officer or UNSTATED],
            "data subjects": [activity.subjects],
            "categories of data": _once(inventory.categories[item.category] for item in items),
            "recipients": [activity.recipients],
            "transfers to third countries": [activity.transfers],
            "time limits for erasure": _once(
                f"{item.name}: {item.retention}" for item in items if item.category in inventory.personal
            )
            or ["none: nothing that relates to a person is held"],
            "security": list(activity.security),
            "legal basis": [_BASES[basis] for basis in activity.basis],
            "where": [_where(item) for item in items],
        }


def to_csv(inventory: Inventory, parties: Parties) -> str:
    """Write both records as one table (RFC 4180), a row for each activity."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(_COLUMNS)
    for row in _records(inventory, parties):
        table.writerow([_cell("; ".join(row[column])) for column in _COLUMNS])
    return out.getvalue()


def to_jsonld(inventory: Inventory, parties: Parties) -> str:
    """Write both records in the terms of the Data Privacy Vocabulary 2."""
    operator = {"@id": "#operator", "dct:title": parties.operator or UNSTATED}
    publishers = [
        {"@id": f"#publisher-{number}", "@type": "dpv:DataController", "dct:title": name}
        for number, name in enumerate(parties.publishers or ("the publishers served",), 1)
    ]
    graph: list[dict[str, Any]] = [
        {**operator, "@type": "dpv:LegalEntity"},
        {
            "@id": "#officer",
            "@type": "dpv:DataProtectionOfficer",
            "dpv:hasContact": parties.officer or UNSTATED,
            "dpv:isRepresentativeFor": {"@id": "#operator"},
        },
        *publishers,
    ]
    for activity, row in zip(inventory.activities.values(), _records(inventory, parties), strict=True):
        controls = activity.role == "controller"
        node: dict[str, Any] = {
            "@id": f"#{activity.name}",
            "@type": "dpv:Process",
            "dct:conformsTo": row["record"][0],
            "dct:title": activity.title,
            "dpv:hasPurpose": activity.purpose,
            "dpv:hasDataController": {"@id": "#operator"}
            if controls
            else [{"@id": p["@id"]} for p in publishers],
            "dpv:hasLegalBasis": [{"@id": f"eu-gdpr:{basis}"} for basis in activity.basis if basis != "none"],
            "dpv:hasDataSubject": activity.subjects,
            "dpv:hasPersonalData": [
                {
                    "@id": f"#{item.section}.{item.name}",
                    "dct:title": inventory.categories[item.category],
                    "dct:description": item.says,
                    "dpv:hasStorageCondition": item.retention,
                    "dct:hasPart": list(item.fields),
                }
                for item in inventory.of(activity.name)
                if item.category in inventory.personal
            ],
            "dpv:hasRecipient": activity.recipients,
            "dpv:hasDataTransfer": activity.transfers,
            "dpv:hasTechnicalOrganisationalMeasure": list(activity.security),
        }
        if not controls:
            node["dpv:hasDataProcessor"] = {"@id": "#operator"}
        graph.append(node)
    context = {
        "dpv": "https://w3id.org/dpv#",
        "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
        "dct": "http://purl.org/dc/terms/",
    }
    return json.dumps({"@context": context, "@graph": graph}, indent=2, ensure_ascii=False) + "\n"


# --- the impact assessment and the roles ---


def to_dpia(inventory: Inventory, parties: Parties) -> str:
    """Write the draft of a data protection impact assessment, in the order of Article 35(7)."""
    lines = [
        "# Data protection impact assessment (draft)",
        "",
        f"Written from the inventory of the software. What stands as **{UNSTATED}** only the controller can say.",
        "",
        f"- Operator: {_md(parties.operator or UNSTATED)}",
        f"- Data protection officer: {_md(parties.officer or UNSTATED)} (advice sought, Art. 35(2): **{UNSTATED}**)",
        f"- Publishers: {_md(', '.join(parties.publishers) or UNSTATED)}",
        "",
        "## 1. The processing and its purposes (Art. 35(7)(a))",
        "",
    ]
    for activity in inventory.activities.values():
        items = inventory.of(activity.name)
        lines += [f"### {activity.title}", "", f"{activity.purpose} Data subjects: {activity.subjects}.", ""]
        lines += _table(
            ("where", "what it says", "category", "kept for"),
            ((_where(i), i.says, inventory.categories[i.category], i.retention) for i in items),
        )
    lines += ["## 2. Necessity and proportionality (Art. 35(7)(b))", ""]
    lines += _table(
        ("activity", "legal basis", "recipients", "transfers"),
        (
            (a.title, ", ".join(_BASES[b] for b in a.basis), a.recipients, a.transfers)
            for a in inventory.activities.values()
        ),
    )
    lines += [f"Why less intrusive means would not do, in this installation: **{UNSTATED}**", ""]
    lines += ["## 3. Risks to data subjects (Art. 35(7)(c))", ""]
    lines += _table(
        ("risk", "likelihood", "severity", "measure", "shown by", "residual risk accepted by"),
        ((r.risk, r.likelihood, r.severity, r.measure, r.shown_by, UNSTATED) for r in inventory.risks),
    )
    lines += ["## 4. Measures (Art. 35(7)(d))", ""]
    measures = _once(m for a in inventory.activities.values() for m in a.security)
    lines += [*(f"- {_md(measure)}" for measure in measures), ""]
    lines += [
        f"Views of data subjects (Art. 35(9)): **{UNSTATED}**",
        "",
        f"Date and signature: **{UNSTATED}**",
        "",
    ]
    return "\n".join(lines)


def to_roles(inventory: Inventory, parties: Parties) -> str:
    """Write who is controller and who is processor, and of what."""
    lines = [
        "# Roles under the GDPR",
        "",
        f"Operator: {_md(parties.operator or UNSTATED)}. "
        f"Data protection officer: {_md(parties.officer or UNSTATED)}.",
        "",
    ]
    publishers = _md(", ".join(parties.publishers) or "the publishers served")
    for role, heading in (
        ("controller", "The operator is the controller (Art. 4(7)) where it"),
        ("processor", f"The operator is a processor (Art. 4(8), 28) for {publishers} where it"),
    ):
        activities = [a for a in inventory.activities.values() if a.role == role]
        lines += [f"## {heading}", ""]
        for a in activities:
            bases = ", ".join(_BASES[b] for b in a.basis)
            lines.append(f"- **{_md(a.title)}**: {_md(a.purpose)} Basis: {_md(bases)}.")
        lines.append("")
    lines += [
        "Advertisers get neither readers' data nor anything from which a reader could be told apart: they are "
        "recipients of released figures only. Who determines purposes and means in fact decides (Art. 26, 28(10)): "
        f"the contracts that say so: **{UNSTATED}**",
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_md(cell) for cell in row) + " |" for row in rows]
    return [*lines, ""]


def _md(text: str) -> str:
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


def _cell(text: str) -> str:
    # A cell that begins so is a formula to spreadsheets.
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t")) else text


def _where(item: Item) -> str:
    return f"{item.section}.{item.name}" + (f" ({', '.join(item.fields)})" if item.fields else "")


def _once(texts: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(texts))


# --- the picture ---

_BOLD = ' font-weight="bold"'
_HEADS = {
    "read": "Headers, through closed functions",
    "stated": "Bodies, of readers",
    "visit": "Bodies and headers, as the engine is told",
    "kept": "Database, by table",
    "beside": "Databases beside it, by table",
    "files": "Files",
    "logged": "Log lines",
    "released": "Answers",
}
_WIDTH, _BOX, _GAP, _LINE, _PAD = 1180, 340, 12, 15, 10
_LANES = (20, 420, 820)  # left edges


def to_svg(inventory: Inventory, parties: Parties) -> str:
    """Draw what comes in, what is done with it, and where it stays or goes; dashed where a person is concerned."""
    boxes: list[str] = []
    lines: list[str] = []
    y = 100
    for activity in inventory.activities.values():
        groups = _groups(inventory, activity)
        sides = (
            [g for g in groups if g[0].section in COMING_IN],
            [g for g in groups if g[0].section not in COMING_IN],
        )
        title = wrap(activity.title, 46)
        middle = [*title, *wrap(activity.purpose, 52), f"{activity.role}; {_basis_words(activity)}"]
        height = _height(middle)
        columns = [[_lines(group) for group in side] for side in sides]
        stacks = [sum(_height(text) + _GAP for text in column) for column in columns]
        tall = max(height, *stacks)
        top = y + (tall - height) / 2
        boxes.append(_box(_LANES[1], top, middle, "#e8eef7", bold=len(title)))
        for lane, column, side, stack in zip((0, 2), columns, sides, stacks, strict=True):
            at = y + (tall - stack) / 2
            for group, text in zip(side, column, strict=True):
                personal = group[0].category in inventory.personal
                boxes.append(
                    _box(_LANES[lane], at, text, "#fdf1e3" if personal else "#f4f4f2", dashed=personal)
                )
                ends = (_LANES[0] + _BOX, _LANES[1]) if lane == 0 else (_LANES[1] + _BOX, _LANES[2])
                mid = at + _height(text) / 2
                heights = (mid, top + height / 2) if lane == 0 else (top + height / 2, mid)
                lines.append(
                    f'<path d="M{ends[0]} {heights[0]:.0f} C{ends[0] + 30} {heights[0]:.0f} '
                    f'{ends[1] - 30} {heights[1]:.0f} {ends[1]} {heights[1]:.0f}" marker-end="url(#to)"/>'
                )
                at += _height(text) + _GAP
        y += round(tall) + 36
    heads = ("What comes in", "What is done with it", "Where it stays or goes")
    titles = "".join(
        f'<text x="{x}" y="84" font-weight="bold">{head}</text>'
        for x, head in zip(_LANES, heads, strict=True)
    )
    who = escape(f"Operator: {parties.operator or UNSTATED}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" aria-labelledby="t d" '
        'font-family="system-ui, sans-serif" font-size="11.5" fill="#1b1b1b">\n'
        '<title id="t">Data flow</title>\n'
        '<desc id="d">What is read of requests, the processing activities, and what is kept, logged and answered'
        "</desc>\n"
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>\n'
        f'<rect width="{_WIDTH}" height="{y}" fill="#fff"/>\n'
        f'<text x="20" y="30" font-size="18" font-weight="bold">Data flow</text><text x="20" y="52">{who}. '
        "Dashed boxes relate to a person.</text>\n"
        f"{titles}\n"
        f'<g fill="none" stroke="#777">{"".join(lines)}</g>\n{chr(10).join(boxes)}\n</svg>\n'
    )


def _basis_words(activity: Activity) -> str:
    return ", ".join(_BASES[basis] for basis in activity.basis)


def _groups(inventory: Inventory, activity: Activity) -> list[list[Item]]:
    """Return the items of an activity, one group a section, those about a person apart."""
    return [
        group
        for section in SECTIONS
        for personal in (True, False)
        if (
            group := [
                item
                for item in inventory.of(activity.name)
                if item.section == section and (item.category in inventory.personal) == personal
            ]
        )
    ]


def _lines(group: Sequence[Item]) -> list[str]:
    return [
        _HEADS[group[0].section],
        *wrap(", ".join(item.name for item in group), 50, break_on_hyphens=False),
    ]


def _height(text: Sequence[str]) -> int:
    return len(text) * _LINE + 2 * _PAD - 4


def _box(x: float, y: float, text: Sequence[str], fill: str, *, bold: int = 1, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 3"' if dashed else ""
    rows = "".join(
        f'<tspan x="{x + _PAD}" y="{y + _PAD + 8 + number * _LINE:.0f}"{_BOLD if number < bold else ""}>'
        f"{escape(line)}</tspan>"
        for number, line in enumerate(text)
    )
    return (
        f'<g><rect x="{x}" y="{y:.0f}" width="{_BOX}" height="{_height(text)}" rx="5" fill="{fill}" '
        f'stroke="#888"{dash}/><text>{rows}</text></g>'
    )
