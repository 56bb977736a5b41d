"""What the IAB's consent strings take away: of the purposes of a consent token, those that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

from privacy import gpp as gpp_string
from privacy import tcf as tcf_string
from privacy.consent import TCF_PURPOSE, Purpose
from privacy.iab_bits import Rule, StringError

# Under TCF the engine works as the publisher's own, or as a vendor with an id of the Global Vendor List.
Role = Literal["publisher", "vendor"]
ROLES: tuple[Role, ...] = get_args(Role)
# Why a string is invalid: which one, and the rule that it breaks.
REASONS = frozenset(f"{kind}_{rule}" for kind in ("tcf", "gpp") for rule in get_args(Rule))

SELECT_ADVERTISING = 2  # TCF purpose: use limited data to select advertising
_NONE: frozenset[Purpose] = frozenset()


def restrict(
    purposes: frozenset[Purpose],
    *,
    tcf: str | None,
    gpp: str | None,
    gpp_sid: Sequence[int] | None,
    gdpr: int | None,
    role: Role,
    vendor_id: int | None,
    now: datetime,
) -> tuple[frozenset[Purpose], str | None]:
    """Return which of `purposes` the strings leave, and why a string is invalid (one of REASONS), None if none is.

    Strings only ever take away: the answer is a subset of `purposes`, and without any string it is all of them. An
    invalid string leaves nothing, and neither does none where `gdpr` is 1. A US section with an objection leaves
    nothing whatever `gpp_sid` says; the TCF sections of a GPP string count where `gpp_sid` names them or names
    none, or `gdpr` is 1. `role` "vendor" needs a `vendor_id`. `now` is aware.
    """
    sections: set[int] = {number for number in gpp_sid or () if number > 0}
    left = purposes
    heard = False
    if tcf:
        try:
            consent = tcf_string.decode(tcf)
        except StringError as error:
            return _NONE, f"tcf_{error.rule}"
        if rule := tcf_string.unlawful(consent, now):
            return _NONE, f"tcf_{rule}"
        left = frozenset(purpose for purpose in left if _consented(consent, purpose, role, vendor_id))
        heard = True
    if gpp:
        try:
            said = gpp_string.decode(gpp).sections
        except StringError as error:
            return _NONE, f"gpp_{error.rule}"
        if not sections <= said.keys():
            return _NONE, "gpp_sections"
        for number, section in said.items():
            if isinstance(section, gpp_string.UsSection):
                if section.objects():
                    left = _NONE
            elif not sections or number in sections or (gdpr == 1 and number == gpp_string.TCF_EU):
                if rule := unlawful(section, now):
                    return _NONE, f"gpp_{rule}"
                left = frozenset(purpose for purpose in left if _consented(section, purpose, role, vendor_id))
                heard = heard or number == gpp_string.TCF_EU
    elif sections:
        return _NONE, "gpp_empty"
    if gdpr == 1 and not heard:
        return _NONE, "tcf_empty"
    return left, None


def refuses_selection(
    *,
    tcf: str | None,
    gpp: str | None,
    gdpr: int | None,
    role: Role,
    vendor_id: int | None,
    now: datetime,
) -> bool:
    """Say whether a reader refused TCF Purpose 2, to select advertising by limited data, towards us in our role.

    Neither consent nor a legitimate interest stands for it. Where `gdpr` is 1, no string, and one that is not to be
    relied on, is a refusal too; where it is 0 nothing is. The TCF section of a GPP string counts where there is no
    other; US and Canadian sections do not speak of it.
    """
    if gdpr == 0:
        return False
    try:
        if tcf:
            consent: object = tcf_string.decode(tcf)
        else:
            consent = gpp_string.decode(gpp).sections.get(gpp_string.TCF_EU) if gpp else None
    except StringError:
        return bool(tcf) or gdpr == 1
    if not isinstance(consent, tcf_string.ConsentString):
        return gdpr == 1
    if tcf_string.unlawful(consent, now):
        return True
    if role == "publisher":
        said = consent.publisher
        agreed = consent.purpose_consents if said is None else said.consents
        interests = consent.purpose_legitimate_interests if said is None else said.legitimate_interests
        return SELECT_ADVERTISING not in agreed and SELECT_ADVERTISING not in interests
    if vendor_id is None or (consent.disclosed is not None and vendor_id not in consent.disclosed):
        return True
    bases = (
        (consent.purpose_consents, consent.vendor_consents, False),
        (consent.purpose_legitimate_interests, consent.vendor_legitimate_interests, True),
    )
    return not any(
        SELECT_ADVERTISING in purposes
        and vendor_id in vendors
        and not tcf_string.restricted(
            consent.restrictions, SELECT_ADVERTISING, vendor_id, by_interest=by_interest
        )
        for purposes, vendors, by_interest in bases
    )


def unlawful(section: gpp_string.Section, now: datetime) -> Rule | None:
    """Return why a well-formed section must not be relied on at `now` (aware), None where it may be."""
    if isinstance(section, tcf_string.ConsentString):
        return tcf_string.unlawful(section, now)
    if isinstance(section, gpp_string.CanadianConsent):
        return tcf_string.out_of_time(section.created, section.updated, now)
    return None


def _consented(
    said: tcf_string.ConsentString | gpp_string.CanadianConsent,
    purpose: Purpose,
    role: Role,
    vendor_id: int | None,
) -> bool:
    """Say whether a string bears consent (never a legitimate interest) for a purpose in our role."""
    number = TCF_PURPOSE[purpose]
    if number not in said.purpose_consents:
        return False
    if role == "publisher":
        return said.publisher is None or number in said.publisher.consents
    if vendor_id is None or vendor_id not in said.vendor_consents:
        return False
    if said.disclosed is not None and vendor_id not in said.disclosed:
        return False
    return not tcf_string.restricted(said.restrictions, number, vendor_id)
