"""Fields of plain HTML forms: values of the catalogue as texts, and back, each at its path.

A text that does not read as its field asks goes through as it is: the checks of the catalogue tell what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo

import msgspec
from flask import request

Kind = Literal[
    "text", "long", "amount", "whole", "number", "words", "choice", "several", "flag", "moment", "hours", "size",
    "json",
]  # fmt: skip
MICROS = 1_000_000
DIGITS = 6  # behind the point of an amount
MOST_KEY = 200  # characters
_KEY = re.compile(rb"(?:^|&)key=([^&]{0,%d})" % (3 * MOST_KEY))
# A comma before three digits parts thousands for some and decimals for others: it is asked for anew.
_AMOUNT = re.compile(r"(?P<whole>[0-9]{1,9})(?:(?:[.]|,(?![0-9]{3}\Z))(?P<part>[0-9]{1,6}))?")
_SIZE = re.compile(r"([0-9]{1,5}) *[x×] *([0-9]{1,5})")
_HOURS = re.compile(
    r"(?P<days>[a-z ]*?) *(?P<start>[0-9:]+) *[-–] *(?P<end>[0-9:]+) *(?P<zone>[A-Za-z_/+-]*)"
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field: where its value stands, what it is called, how it is written."""

    path: str
    label: str
    kind: Kind = "text"
    hint: str = ""
    options: tuple[str, ...] = ()  # of "choice" and "several"
    needed: bool = False

    @property
    def id(self) -> str:
        """Return its id in a page."""
        return "f-" + self.path.replace(".", "-")


@dataclass(frozen=True, slots=True)
class Group:
    """Fields under one heading."""

    title: str
    fields: tuple[Field, ...]
    closed: bool = False  # folded away until it says something


@dataclass(frozen=True, slots=True)
class Shown:
    """A field as a page shows it."""

    field: Field
    text: str
    chosen: tuple[str, ...] = ()  # of "several"
    fault: str | None = None


def key_sent() -> str:
    """Return the key of the form that was sent. Other fields, of which there may be a million, are not read for it."""
    found = _KEY.search(request.get_data())
    return "" if found is None else unquote_plus(found[1].decode("ascii", "replace")).strip()[:MOST_KEY]


def texts_of(fields: Iterable[Field], value: Mapping[str, Any], zone: str) -> dict[str, list[str]]:
    """Return what a form's fields hold for a value, as a browser sends it back."""
    return {field.path: _texts(field, _at(value, field.path), zone) for field in fields}


def value_of(
    fields: Iterable[Field], given: Mapping[str, Sequence[str]], base: Mapping[str, Any], zone: str
) -> dict[str, Any]:
    """Return the base with what a form gives: an empty field takes its value away."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(base))
    for field in fields:
        if field.kind == "several" and _at(base, field.path) == [] and not given.get(field.path):
            continue  # "none of them" is not "nothing said"
        texts = [text.replace("\r\n", "\n").strip() for text in given.get(field.path, ())]
        if field.kind == "moment" and texts and texts == _texts(field, _at(base, field.path), zone):
            continue  # it has seconds that no field shows, and may be in the second of two hours of one name
        _put(made, field.path.split("."), _read(field, texts, zone))
    return made


def shown(
    groups: Sequence[Group], given: Mapping[str, Sequence[str]], faults: Iterable[tuple[str, str]]
) -> tuple[list[tuple[Group, list[Shown], bool]], list[tuple[str, str, str]]]:
    """Return the groups with their fields as shown and whether they stand open, and (id, label, fault) of all faults.

    `faults` are (path, words); each goes to the field whose path it has, or begins with, else to the top alone.
    """
    fields = {field.path: field for group in groups for field in group.fields}
    by_field: dict[str, list[str]] = {}
    listed: list[tuple[str, str, str]] = []
    for path, words in faults:
        own = path.replace("[", ".[").split(".")
        at = next((p for n in range(len(own), 0, -1) if (p := ".".join(own[:n])) in fields), None)
        if at is None:
            inner = [p for p in fields if p.startswith(path + ".")]
            at = inner[0] if inner else None
        if at is None:
            listed.append(("", path, words))
        else:
            by_field.setdefault(at, []).append(words)
            listed.append((fields[at].id, fields[at].label, words))
    told = []
    for group in groups:
        parts = [
            Shown(
                field,
                "" if field.kind == "several" else (list(given.get(field.path, ())) or [""])[0],
                tuple(given.get(field.path, ())),
                "; ".join(by_field[field.path]) if field.path in by_field else None,
            )
            for field in group.fields
        ]
        says = any(part.fault or any(text for text in part.chosen) for part in parts)
        told.append((group, parts, says or not group.closed))
    return told, listed


def amount(micros: object) -> str:
    """Write micro-units as an amount of the currency, exactly."""
    if not isinstance(micros, int):
        return "" if micros is None else str(micros)
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".") if part else str(whole)


def _texts(field: Field, value: Any, zone: str) -> list[str]:
    if value is None:
        return []
    match field.kind:
        case "amount":
            return [amount(value)]
        case "words":
            return ["; ".join(map(str, value))] if isinstance(value, (list, tuple)) else [str(value)]
        case "several":
            return [str(one) for one in value]
        case "flag":
            return ["yes"] if value is True else []
        case "moment":
            return [datetime.fromisoformat(value).astimezone(_zone(zone)).strftime("%Y-%m-%dT%H:%M")]
        case "size":
            return ["x".join(map(str, value))]
        case "hours":
            return ["\n".join(_hours_in_words(one) for one in value)]
        case "json":
            return [msgspec.json.format(msgspec.json.encode(value), indent=1).decode()]
        case _:
            return [f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)]


def _read(field: Field, texts: list[str], zone: str) -> Any:
    """Return the value that a field's texts stand for; None: nothing."""
    text = texts[0] if texts else ""
    if field.kind == "flag":
        return True if text == "yes" else None
    if field.kind == "several":
        return [one for one in texts if one] or None
    if not text:
        return None
    match field.kind:
        case "amount":
            read = _AMOUNT.fullmatch(text)
            if read is None:
                return text
            return int(read["whole"]) * MICROS + int((read["part"] or "0").ljust(DIGITS, "0"))
        case "whole":
            return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else text
        case "number":
            return float(text) if re.fullmatch(r"-?[0-9]{1,9}([.][0-9]{1,9})?", text) else text
        case "words":
            return [word.strip() for word in re.split(r"[;\n]", text) if word.strip()] or None
        case "moment":
            try:
                local = datetime.fromisoformat(text).replace(tzinfo=_zone(zone))
                there = local.astimezone(UTC).astimezone(local.tzinfo)
            except (ValueError, OverflowError):
                return text
            # In the hour that summer time leaves out there is no such time. Of two the first is meant.
            return local.isoformat() if there.replace(tzinfo=None) == local.replace(tzinfo=None) else text
        case "size":
            size = _SIZE.fullmatch(text)
            return text if size is None else [int(size[1]), int(size[2])]
        case "hours":
            return [_hours(line) for line in text.split("\n") if line.strip()]
        case "json":
            try:
                return msgspec.json.decode(text)
            except (ValueError, RecursionError):
                return text
        case _:
            return text


def _hours(line: str) -> object:
    read = _HOURS.fullmatch(line.strip().lower() if "/" not in line else line.strip())
    if read is None:
        return line
    made: dict[str, Any] = {"start": read["start"].zfill(5), "end": read["end"].zfill(5)}
    if read["days"].strip():
        made["weekdays"] = read["days"].lower().split()
    if read["zone"]:
        made["timezone"] = read["zone"]
    return made


def _hours_in_words(hours: Any) -> str:
    if not isinstance(hours, Mapping):
        return str(hours)
    parts = (
        *hours.get("weekdays", ()),
        f"{hours.get('start')}-{hours.get('end')}",
        hours.get("timezone") or "",
    )
    return " ".join(part for part in parts if part)


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def _put(value: dict[str, Any], steps: list[str], read: Any) -> None:
    """Set a value at a path, or take it away; what is empty then goes, too."""
    if len(steps) == 1:
        if read is None:
            value.pop(steps[0], None)
        else:
            value[steps[0]] = read
        return
    inner = value.get(steps[0])
    inner = inner if isinstance(inner, dict) else {}
    _put(inner, steps[1:], read)
    if inner:
        value[steps[0]] = inner
    else:
        value.pop(steps[0], None)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # told at its own field
        return ZoneInfo("UTC")
