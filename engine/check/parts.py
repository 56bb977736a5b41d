"""Messages put together from parts."""

from __future__ import annotations

from msgspec.structs import replace

from contexts.context import PARTS_OF_DAY, SEASONS, WEEKDAYS
from engine.check.findings import Findings, Known, Pictures
from engine.check.offers import check_offer
from engine.check.pictures import check_image
from engine.check.values import WEATHER, check_country, check_prefer, check_word
from engine.creative import (
    MOST_MESSAGES,
    NATIVE,
    SIZES,
    Creative,
    ImagePart,
    Lengths,
    OfferPart,
    Only,
    Part,
    Parts,
    messages,
)
from engine.creative_safety import check_text
from engine.errors import CatalogError
from engine.offers import prices_of
from engine.wording import has_words, read, renderings, room
from privacy.visit import DEVICE_CLASSES


def check_parts(creative: Creative, parts: Parts, pictures: Pictures, known: Known, found: Findings) -> Parts:
    """Return the parts with their pictures hosted."""
    if creative.html is not None:
        found.refuse("parts", "parts beside html", "one of the two")
    if not creative.headline.strip():
        found.refuse("headline", creative.headline, "a headline: the default message needs one")
    if not parts.lists:
        found.refuse("parts", "no part", "headlines, bodies, images, ctas or offers")
        return parts
    limits = _limits(creative, found)
    seen: dict[str, str] = {}
    changed: dict[str, tuple[Part, ...]] = {}
    for name in ("headlines", "bodies", "images", "ctas", "offers"):
        checked: list[Part] = []
        for number, part in enumerate(getattr(parts, name)):
            path = f"parts.{name}[{number}]"
            if part.id in seen:
                found.refuse(f"{path}.id", part.id, f"an id once: {seen[part.id]} has it, too")
            seen[part.id] = path
            _check_only(part.only, f"{path}.only", known, found)
            check_prefer(part.prefer, found, f"{path}.prefer")
            if isinstance(part, ImagePart):
                part = replace(part, image=check_image(part.image, pictures, found, f"{path}.image"))
            else:
                _check_wording(creative, part.text, f"{path}.text", name, limits, found)
            if isinstance(part, OfferPart):
                check_offer(part, path, found)
            checked.append(part)
        changed[name] = tuple(checked)
    _check_rules(parts, seen, found)
    return replace(parts, **changed)


def _limits(creative: Creative, found: Findings) -> dict[str, Lengths]:
    """Return how long copy may be in each format that the creative has."""
    if creative.format == "native":
        if creative.parts is not None and creative.parts.sizes:
            found.refuse("parts.sizes", creative.parts.sizes, "nothing: only banners have sizes")
        return {"native": NATIVE}
    limits = {}
    for size in creative.sizes:
        if size in SIZES:
            limits["{}x{}".format(*size)] = SIZES[size]
        else:
            path = "size" if size == creative.size else "parts.sizes"
            known = ", ".join("{}x{}".format(*one) for one in SIZES)
            found.refuse(
                path, "{}x{}".format(*size), f"one of the sizes that messages are laid out in: {known}"
            )
    for name in ("headline", "body", "cta"):
        _check_length(getattr(creative, name), name, name, limits, found)
    return limits


def _check_wording(
    creative: Creative, text: str, path: str, name: str, limits: dict[str, Lengths], found: Findings
) -> None:
    try:
        wording = read(text, path, found.line)
        for piece in wording:
            check_text(piece.text, path, found.line)
    except CatalogError as error:
        found.errors.append(error)
        return
    language = creative.language
    field = {"headlines": "headline", "bodies": "body", "ctas": "cta", "offers": "offer"}[name]
    prices = prices_of(creative)
    shown = list(renderings(wording, language, prices.values()))
    if not shown[0].strip():
        found.refuse(path, text, "words that can be seen")
    _check_length(max(shown, key=room), path, field, limits, found)
    for kind in {piece.token for piece in wording if piece.token}:
        if kind == "price" and not _is_priced(creative):
            expected = "an offer with a price among parts.offers, or the creative's own"
            found.refuse(path, "{{ price }} without a price", expected)
        elif not has_words(kind, language):
            found.warnings.append(
                f"{path}: {{{{ {kind} }}}} has no words in '{language}': its fall-back is shown"
            )


def _is_priced(creative: Creative) -> bool:
    offers = creative.parts.offers if creative.parts is not None else ()
    return any(one is not None and one.price is not None for one in (creative.offer, *offers))


def _check_length(text: str, path: str, field: str, limits: dict[str, Lengths], found: Findings) -> None:
    for kind, lengths in limits.items():
        most: int = getattr(lengths, field)
        taken = room(text, wide=1 if kind == "native" else 2)
        if taken > most and most:
            wide = ", of which wide ones count twice" if taken > room(text, wide=1) else ""
            expected = f"at most {most} characters in {kind}{wide}, tokens at their longest"
            found.refuse(path, f"{taken} characters", expected)
            return


def _check_only(only: Only, path: str, known: Known, found: Findings) -> None:
    for name, words in (
        ("devices", DEVICE_CLASSES),
        ("parts_of_day", PARTS_OF_DAY),
        ("weekdays", WEEKDAYS),
        ("seasons", SEASONS),
        ("weather", WEATHER),
    ):
        for number, value in enumerate(getattr(only, name)):
            check_word(value, f"{path}.{name}[{number}]", words, found)
    for number, country in enumerate(only.countries):
        check_country(country, f"{path}.countries[{number}]", known, found)


def _check_rules(parts: Parts, seen: dict[str, str], found: Findings) -> None:
    slot_of = {part.id: slot for slot, some in parts.lists for part in some}
    before = len(found.errors)
    for name in ("never", "always"):
        for number, group in enumerate(getattr(parts, name)):
            for id in group:
                if id not in seen:
                    found.refuse(f"parts.{name}[{number}]", id, "ids of parts of this creative")
            slots = [slot_of[id] for id in dict.fromkeys(group) if id in slot_of]
            if name == "always" and len(set(slots)) < len(slots):
                expected = "parts of different lists: of one list, a message shows one part"
                found.refuse(f"parts.always[{number}]", list(group), expected)
    for number, id in enumerate(parts.locked):
        if id not in seen:
            found.refuse(f"parts.locked[{number}]", id, "ids of parts of this creative")
    count = 1
    for _, some in parts.lists:
        count *= len(some)
    if count > MOST_MESSAGES:
        found.refuse(
            "parts", f"{count} combinations", f"at most {MOST_MESSAGES}: fewer parts, or two creatives"
        )
    if len(found.errors) > before or len(slot_of) < len(list(parts)):
        return
    left = messages(parts)
    if not len(left):
        rules = [n for n in ("never", "always", "locked") if getattr(parts, n)]
        expected = "rules that leave at least one combination: take one away, or add parts"
        found.refuse("parts", f"no combination that {', '.join(rules)} leave", expected)
        return
    for slot, (_, some) in enumerate(parts.lists):
        for at, part in enumerate(some):
            if not (left[:, slot] == at).any():
                found.warnings.append(f"{seen[part.id]}: part {part.id!r} stands in no combination")
