"""Mutants of IAB strings, read by us and by the IAB's own decoders (through Node); faults planted in our readers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from engine.errors import ProofError
from engine.prove.consent_fuzz import Answer, Mutant, Part, Reading, judge, score
from engine.prove.iab_write import Pen, gpp_string, random_consent, random_gpp, tc_string, us_section
from privacy import gpp, iab, tcf
from privacy.gpp import CanadianConsent, GppString, UsSection
from privacy.iab_bits import Ids, Rule, StringError
from privacy.tcf import ConsentString, PublisherPurposes, Restriction

ORACLE = Path(__file__).with_name("iab_oracle.mjs")
PACKAGES = "npm install --global @iabtcf/core@1.5.6 @iabgpp/cmpapi@3.2.0"
_BATCH = 5000  # mutants a process of the oracle, well below the minute that it is given
_PATIENCE_S = 300
_PLANTED_ON = 6000  # a planted fault has to show on so many mutants
_NOW = datetime(2026, 11, 1, tzinfo=UTC)  # of the strings made up here; nothing is asked of the clock
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LETTERS = f"{_ALPHABET}.~"  # all that stands in a string
_FOREIGN = "+/=.~ %*\n\t\0é$,"


def fuzz_strings(
    seed: int, count: int, packages: Path | None = None, recorded: Sequence[tuple[str, str]] = ()
) -> Part:
    """Try `count` plain mutants, half TC and half GPP strings, and half as many that are built to break a rule.

    `recorded` adds strings (kind, text) to start from.

    Raises ProofError where Node or the IAB's packages are missing; `packages` is the folder with node_modules.
    """
    mutants = make_mutants(seed, count, recorded)
    answers = ask(mutants, packages)
    planted = score(mutants[:_PLANTED_ON], answers[:_PLANTED_ON], PLANTED)
    return judge("strings", mutants, answers, read, planted)


# --- reading and asking ---

_Said = TypeVar("_Said")
_Reader = Callable[[str], tuple[_Said, tuple[Rule, ...]]]


def read(mutant: Mutant) -> Reading:
    """Read a mutant with our decoders."""
    return _reading(mutant.kind, mutant.text, tcf.read, gpp.read)


def ask(mutants: Sequence[Mutant], packages: Path | None = None) -> list[Answer]:
    """Return what the IAB's decoders say of each mutant. Raises ProofError where they cannot be asked."""
    node = shutil.which("node")
    if node is None:
        raise ProofError("the oracle of consent strings needs Node: https://nodejs.org")
    command = [node, str(ORACLE), *([str(packages)] if packages else [])]
    answers: list[Answer] = []
    for start in range(0, len(mutants), _BATCH):
        batch = mutants[start : start + _BATCH]
        lines = "".join(f"{json.dumps([mutant.kind, mutant.text])}\n" for mutant in batch)
        try:
            done = subprocess.run(  # noqa: S603 - a script of this package, and no shell
                command, input=lines, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
            )
        except subprocess.TimeoutExpired as error:
            raise ProofError(f"the oracle of consent strings took more than {_PATIENCE_S} s") from error
        except subprocess.CalledProcessError as error:
            last = (error.stderr or "").strip().splitlines()
            said = next((line for line in last if line.startswith("Error")), last[-1] if last else "")
            raise ProofError(f"the oracle of consent strings failed: {said}; it needs: {PACKAGES}") from error
        answers += [_answer(line) for line in done.stdout.splitlines()]
    if len(answers) != len(mutants):
        raise ProofError(f"the oracle gave {len(answers)} answers to {len(mutants)} strings")
    return answers


def _answer(line: str) -> Answer:
    said = json.loads(line)
    if said == "no verdict":
        return Answer(False, undecided=True)
    doubted = isinstance(said, dict) and said.pop("doubted", False)
    return Answer(said is not None, said, doubted=doubted)


def _reading(
    kind: str,
    text: str,
    read_tcf: _Reader[ConsentString],
    read_gpp: _Reader[GppString],
) -> Reading:
    try:
        if kind == "tcf":
            consent, broken = read_tcf(text)
            plain, unlawful = plain_tcf(consent), iab.unlawful(consent, _NOW)
        else:
            said, broken = read_gpp(text)
            plain = plain_gpp(said)
            unlawful = next(
                filter(None, (iab.unlawful(found, _NOW) for found in said.sections.values())), None
            )
    except StringError as error:
        return Reading(None, error.rule)
    return Reading(plain, broken=broken[0] if broken else None, unlawful=unlawful)


def plain_tcf(said: ConsentString) -> dict[str, Any]:
    """Return a TC string's contents as the oracle writes them."""
    return {
        "version": said.version,
        "created": _tenths(said.created),
        "updated": _tenths(said.updated),
        "cmp": said.cmp,
        "cmp_version": said.cmp_version,
        "screen": said.screen,
        "language": said.language,
        "vendor_list": said.vendor_list,
        "policy": said.policy,
        "service_specific": said.service_specific,
        "non_standard_texts": said.non_standard_texts,
        "special_features": _ranges(said.special_features),
        "purpose_consents": _ranges(said.purpose_consents),
        "purpose_legitimate_interests": _ranges(said.purpose_legitimate_interests),
        "purpose_one_treatment": said.purpose_one_treatment,
        "country": said.country,
        "vendor_consents": _ranges(said.vendor_consents),
        "vendor_legitimate_interests": _ranges(said.vendor_legitimate_interests),
        "restrictions": _restrictions(said.restrictions),
        "disclosed": _ranges(said.disclosed),
        "allowed": _ranges(said.allowed),
        "publisher": _publisher(said.publisher),
    }


def plain_gpp(said: GppString) -> dict[str, Any]:
    """Return a GPP string's contents as the oracle writes them."""
    plain: dict[str, Any] = {}
    for section in said.sections.values():
        if isinstance(section, ConsentString):
            plain["tcfeuv2"] = plain_tcf(section)
        elif isinstance(section, CanadianConsent):
            plain["tcfcav1"] = _plain_canadian(section)
        else:
            plain[section.name] = _plain_us(section)
    return plain


def _plain_canadian(said: CanadianConsent) -> dict[str, Any]:
    return {
        "created": _tenths(said.created),
        "updated": _tenths(said.updated),
        "cmp": said.cmp,
        "policy": said.policy,
        "purpose_consents": _ranges(said.purpose_consents),
        "implied_purposes": _ranges(said.implied_purposes),
        "vendor_consents": _ranges(said.vendor_consents),
        "implied_vendors": _ranges(said.implied_vendors),
        "restrictions": _restrictions(said.restrictions),
        "disclosed": _ranges(said.disclosed),
        "publisher": _publisher(said.publisher),
    }


def _plain_us(said: UsSection) -> dict[str, Any]:
    plain: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in said.fields.items()
    }
    states = [gpp.NATIONAL_1, gpp.NATIONAL_2, *gpp.STATES.values()]
    state = next((state for state in states if state.name == said.name), None)
    if isinstance(said.fields.get("Version"), str):  # a letter is no number to the oracle
        plain["Version"] = None
    if state in (gpp.NATIONAL_1, gpp.NATIONAL_2):  # the oracle cuts and fills lists by the stated version
        first = plain["Version"] == 1
        plain["SensitiveDataProcessing"] = _long(plain["SensitiveDataProcessing"], 12 if first else 16)
        plain["KnownChildSensitiveDataConsents"] = _long(
            plain["KnownChildSensitiveDataConsents"], 2 if first else 3
        )
    # The oracle fills in what a string does not say: no control, no sensitive data.
    if state is not None and state.gpc:
        plain["Gpc"] = said.gpc or False
    if state is not None and state.sensitive:
        plain.setdefault("SensitiveDataProcessing", [0] * state.sensitive)
    return plain


def _long(numbers: Sequence[int], length: int) -> list[int]:
    return [*numbers, *[0] * length][:length]


def _tenths(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=100)


def _ranges(found: Ids | None) -> list[int]:
    flat: list[int] = []
    for number in found or ():
        if flat and flat[-1] == number - 1:
            flat[-1] = number
        else:
            flat += [number, number]
    return flat


def _restrictions(found: Sequence[Restriction]) -> list[list[Any]]:
    merged: dict[tuple[int, int], int] = {}
    for restriction in found:
        key = (restriction.purpose, restriction.kind)
        merged[key] = merged.get(key, 0) | restriction.vendors.mask
    return [[purpose, kind, _ranges(Ids(mask))] for (purpose, kind), mask in sorted(merged.items()) if mask]


def _publisher(found: PublisherPurposes | None) -> list[Any]:
    if found is None:  # as the oracle fills in
        return [[], [], 0, [], []]
    return [
        _ranges(found.consents),
        _ranges(found.legitimate_interests),
        found.custom,
        _ranges(found.custom_consents),
        _ranges(found.custom_legitimate_interests),
    ]


# --- damage ---


def make_mutants(seed: int, count: int, recorded: Sequence[tuple[str, str]] = ()) -> list[Mutant]:
    """Return `count` plain mutants and half as many built ones, TC and GPP strings in turn, by the seed alone."""
    chance = Random(seed)  # noqa: S311 - damage needs to repeat, not to be secret
    kept = {kind: [text for known, text in recorded if known == kind] for kind in ("tcf", "gpp")}
    mutants: list[Mutant] = []
    while len(mutants) < count + count // 2:
        kind = "tcf" if len(mutants) % 2 else "gpp"
        text = chance.choice(kept[kind]) if kept[kind] and chance.random() < 0.25 else _written(kind, chance)
        plain = len(mutants) % 3 != 2
        damages = _PLAIN if plain else _BUILT
        damage = chance.choice(tuple(damages))
        damaged = damages[damage](text, _written(kind, chance), chance)
        if damaged != text or not plain:
            mutants.append(Mutant(kind, damaged, damage, plain))
    return mutants


def _written(kind: str, chance: Random) -> str:
    return tc_string(random_consent(chance, _NOW)) if kind == "tcf" else random_gpp(chance, _NOW)


def _substituted(text: str, other: str, chance: Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(_LETTERS) + text[at + 1 :]


def _inserted(text: str, other: str, chance: Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_LETTERS) + text[at:]


def _deleted(text: str, other: str, chance: Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + text[at + 1 :]


def _transposed(text: str, other: str, chance: Random) -> str:
    at = chance.randrange(len(text) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _truncated(text: str, other: str, chance: Random) -> str:
    return text[: chance.randrange(len(text))]


def _other_case(text: str, other: str, chance: Random) -> str:
    at = chance.choice([at for at, letter in enumerate(text) if letter.isalpha()])
    return text[:at] + text[at].swapcase() + text[at + 1 :]


def _swapped(text: str, other: str, chance: Random) -> str:
    parts = re.split(r"([.~])", text)
    first, second = chance.choice(range(0, len(parts), 2)), chance.choice(range(0, len(parts), 2))
    parts[first], parts[second] = parts[second], parts[first]
    return "".join(parts)


def _foreign(text: str, other: str, chance: Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_FOREIGN) + text[at + chance.randrange(2) :]


def _longer(text: str, other: str, chance: Random) -> str:
    return text + chance.choice(("A", "AA", "AAAA", "A" * 8, "_", "B", "AB", "="))


def _spliced(text: str, other: str, chance: Random) -> str:
    return text[: chance.randrange(len(text))] + other[chance.randrange(len(other)) :]


def _segments(text: str, other: str, chance: Random) -> str:
    mark = "~" if "~" in text and chance.random() < 0.5 else "."
    parts = text.split(mark)
    act = chance.randrange(5)
    if act == 0:
        parts.insert(chance.randrange(len(parts) + 1), chance.choice(other.split(mark)))
    elif act == 4:
        parts.insert(chance.randrange(1, len(parts) + 1), "")
    elif act == 1:
        parts.pop(chance.randrange(len(parts)))
    elif act == 2:
        parts.append(chance.choice(parts))
    else:
        chance.shuffle(parts)
    return mark.join(parts)


def _dressed(text: str, other: str, chance: Random) -> str:
    return chance.choice(
        (
            f" {text}",
            f"{text}\n",
            f"{text}==",
            text.replace("-", "+").replace("_", "/"),
            text.replace("~", "%7E"),
            text.swapcase(),
            f'"{text}"',
            "${GDPR_CONSENT_755}",
            "${GPP_STRING_755}",
        )
    )


def _rewritten(text: str, other: str, chance: Random) -> str:
    """Write a whole string anew with one field that is out of the ordinary."""
    if text.startswith("D"):
        number = chance.choice((gpp.US_NATIONAL, *gpp.STATES))
        version = chance.choice((1, 1, 2, 3))
        state = gpp.STATES.get(number, gpp.NATIONAL_1 if version == 1 else gpp.NATIONAL_2)
        values: dict[str, int | tuple[int, ...]] = {
            name: tuple(chance.choice((0, 0, 1, 2, 3)) for _ in range(count)) for name, count in state.layout
        }
        return gpp_string({number: us_section(state, version, values)})
    return tc_string(_odd(random_consent(chance, _NOW), chance))


def _odd(said: ConsentString, chance: Random) -> ConsentString:
    pick = chance.randrange(12)
    if pick == 0:
        return replace(said, cmp=chance.randrange(3))
    if pick == 1:
        return replace(said, version=chance.choice((0, 1, 2, 3, 7, 9, 63)))
    if pick == 2:
        return replace(said, policy=chance.randrange(64))
    if pick == 3:
        return replace(said, created=_NOW + timedelta(days=chance.randrange(9000)))
    if pick == 4:
        return replace(said, purpose_consents=Ids(chance.getrandbits(24) << 1))
    if pick == 5:
        return replace(said, service_specific=False)
    if pick == 6:
        return replace(said, disclosed=None)
    if pick == 7:
        odd = Restriction(chance.randrange(64), chance.randrange(4), Ids(chance.getrandbits(20)))
        return replace(said, restrictions=(*said.restrictions, odd))
    if pick == 8:
        return replace(said, vendor_consents=Ids(1 << chance.randrange(1, 65536)))
    if pick == 9:
        return replace(said, special_features=Ids(chance.getrandbits(12) << 1))
    if pick == 10:
        return replace(said, country=chance.choice(("[]", "aa", "~~", "ZZ")))
    return replace(said, vendor_consents=Ids(0), vendor_legitimate_interests=Ids(0), disclosed=Ids(0))


def _ranged(text: str, other: str, chance: Random) -> str:
    """Write disclosed vendors as ranges out of order, overlapping, reversed, or past the stated maximum."""
    pen = Pen().number(1, 3).number(chance.choice((50, 1300, 65535)), 16).number(1, 1)
    count = chance.randrange(4)
    pen.number(count + chance.choice((0, 0, 0, 1)), 12)
    for _ in range(count):
        pair = chance.random() < 0.5
        pen.number(pair, 1).number(chance.choice((0, *range(1, 60), 1300)), 16)
        if pair:
            pen.number(chance.choice((*range(30, 80), 1300)), 16)
    core = tc_string(random_consent(chance, _NOW)).split(".")[0]
    string = f"{core}.{pen.text(24)}"
    return string if "~" not in text and not text.startswith("D") else gpp_string({2: string})


_Damage = Mapping[str, Callable[[str, str, Random], str]]
_PLAIN: _Damage = {
    "substituted": _substituted,
    "inserted": _inserted,
    "deleted": _deleted,
    "transposed": _transposed,
    "truncated": _truncated,
    "other case": _other_case,
    "parts swapped": _swapped,
}
_BUILT: _Damage = {
    "none": lambda text, other, chance: text,
    "foreign": _foreign,
    "longer": _longer,
    "spliced": _spliced,
    "segments": _segments,
    "dressed": _dressed,
    "rewritten": _rewritten,
    "ranged": _ranged,
}


# --- planted faults: readers as one might have written them ---


@dataclass(frozen=True, slots=True)
class _Faulty:
    """Our reader with the text made kinder before it is read, or with what it says turned after."""

    kinder: Callable[[str], str] = str
    turn: Callable[[ConsentString], ConsentString] = lambda said: said
    turn_us: Callable[[UsSection], UsSection] = lambda said: said

    def __call__(self, mutant: Mutant) -> Reading:
        return _reading(mutant.kind, self.kinder(mutant.text), self._tcf, self._gpp)

    def _tcf(self, text: str) -> tuple[ConsentString, tuple[Rule, ...]]:
        said, broken = tcf.read(text)
        return self.turn(said), broken

    def _gpp(self, text: str) -> tuple[GppString, tuple[Rule, ...]]:
        said, broken = gpp.read(text)
        turned = {
            number: self.turn(section)
            if isinstance(section, ConsentString)
            else self.turn_us(section)
            if isinstance(section, UsSection)
            else section
            for number, section in said.sections.items()
        }
        return GppString(turned), broken


def _shifted(found: Ids) -> Ids:
    return Ids(found.mask << 1)


def _swap_us(said: UsSection, one: str, two: str) -> UsSection:
    fields = dict(said.fields)
    if one in fields and two in fields:
        fields[one], fields[two] = fields[two], fields[one]
    return replace(said, fields=fields)


def _shortened(text: str) -> str:
    """Leave out what is no base64url, as lenient decoders do."""
    return "".join(letter for letter in text if letter in _ALPHABET or letter in ".~")


def _without_tail(text: str) -> str:
    """Drop the segments whose kind is unknown."""
    first, *others = text.split(".")
    return ".".join([first, *(part for part in others if part[:1] <= "f" and part[:1] not in "_-0123456789")])


def _filled(text: str) -> str:
    """Add zeros to a TC string until it is long enough."""
    for more in range(40):
        try:
            tcf.read(text + "A" * more)
        except StringError as error:
            if error.rule == "truncated":
                continue
        return text + "A" * more
    return text


def _header_of(text: str) -> str:
    """Add or cut sections until the header's count is met."""
    head, mark, rest = text.partition("~")
    if not mark or not head.startswith("DB"):
        return text
    for end in range(1, rest.count("~") + 2):
        cut = "~".join([head, *rest.split("~")[:end]])
        try:
            gpp.read(cut)
        except StringError as error:
            if error.rule == "sections":
                continue
        return cut
    return text


PLANTED: Mapping[str, Callable[[Mutant], Reading]] = {
    "trims blanks": _Faulty(kinder=str.strip),
    "takes base64 with padding": _Faulty(kinder=lambda text: text.rstrip("=")),
    "takes standard base64": _Faulty(kinder=lambda text: text.replace("+", "-").replace("/", "_")),
    "skips foreign characters": _Faulty(kinder=_shortened),
    "decodes percent signs": _Faulty(kinder=lambda text: text.replace("%7E", "~")),
    "trims quotes": _Faulty(kinder=lambda text: text.strip('"')),
    "reads what is cut off as zeros": _Faulty(kinder=_filled),
    "takes any version": _Faulty(kinder=lambda text: "C" + text[1:] if "~" not in text else text),
    "skips unknown segments": _Faulty(kinder=_without_tail),
    "skips empty segments": _Faulty(
        kinder=lambda text: ".".join(part for part in text.split(".") if part) if "~" not in text else text
    ),
    "does not count sections": _Faulty(kinder=_header_of),
    "counts vendors from 0": _Faulty(
        turn=lambda said: replace(said, vendor_consents=_shifted(said.vendor_consents))
    ),
    "counts purposes from 0": _Faulty(
        turn=lambda said: replace(said, purpose_consents=_shifted(said.purpose_consents))
    ),
    "takes legitimate interest for consent": _Faulty(
        turn=lambda said: replace(said, purpose_consents=said.purpose_legitimate_interests)
    ),
    "takes disclosed vendors for consented ones": _Faulty(
        turn=lambda said: replace(said, vendor_consents=said.disclosed or said.vendor_consents)
    ),
    "forgets the publisher's restrictions": _Faulty(turn=lambda said: replace(said, restrictions=())),
    "forgets the publisher's segment": _Faulty(turn=lambda said: replace(said, publisher=None)),
    "reads ranges without their last id": _Faulty(
        turn=lambda said: replace(
            said,
            vendor_consents=Ids(
                said.vendor_consents.mask & (1 << said.vendor_consents.mask.bit_length()) // 2 - 1
            ),
        )
    ),
    "swaps sale and targeting": _Faulty(
        turn_us=lambda said: _swap_us(said, "SaleOptOut", "TargetedAdvertisingOptOut")
    ),
    "swaps notice and opt-out": _Faulty(
        turn_us=lambda said: _swap_us(said, "SaleOptOutNotice", "SaleOptOut")
    ),
    "forgets the Global Privacy Control": _Faulty(turn_us=lambda said: replace(said, gpc=None)),
    "reads children's consents short": _Faulty(
        turn_us=lambda said: replace(
            said,
            fields={
                **said.fields,
                "KnownChildSensitiveDataConsents": (0, 0)
                if isinstance(said.fields.get("KnownChildSensitiveDataConsents"), tuple)
                else said.fields.get("KnownChildSensitiveDataConsents", 0),
            },
        )
    ),
    "turns the US Privacy string round": _Faulty(turn_us=lambda said: _swap_us(said, "Notice", "OptOutSale")),
}
