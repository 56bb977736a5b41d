"""GDPR Article 9 topics: on such pages nothing of a person is used, consent or not. A closed, versioned list.

Brand suitability is another thing: it protects an advertiser, this list protects a reader.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "2026-11-1"  # goes up whenever a category or a topic of one changes


@dataclass(frozen=True, slots=True)
class SpecialCategory:
    """A category of pages whose reading may reveal what Article 9 protects.

    `topics` are ids of IAB Content Taxonomy 3.1; a topic stands for everything under it.
    """

    name: str
    basis: str
    topics: frozenset[str]


SPECIAL_CATEGORIES: dict[str, SpecialCategory] = {
    "health": SpecialCategory(
        "Health, genetic data included",
        "GDPR Art. 9(1), data concerning health",
        # Medical Health; Health Insurance; Special Needs Kids; Eldercare; Special Education; Disabled Sports;
        # Physical Therapy
        frozenset({"286", "399", "199", "190", "136", "494", "236"}),
    ),
    "reproductive_health": SpecialCategory(
        "Reproductive health: pregnancy, fertility, contraception, abortion, menopause",
        "GDPR Art. 9(1), data concerning health; named apart because laws of several places do",
        frozenset({"302", "292", "166", "169"}),  # Reproductive Health; Menopause; Baby Shower; Birth
    ),
    "addiction": SpecialCategory(
        "Addiction and recovery: substances, gambling, smoking cessation",
        "GDPR Art. 9(1), data concerning health",
        frozenset({"311", "237"}),  # Substance Abuse; Smoking Cessation
    ),
    "sexuality": SpecialCategory(
        "Sex life and sexual orientation",
        "GDPR Art. 9(1), data concerning a natural person's sex life or sexual orientation",
        frozenset({"307", "Rm3SiT", "MQ2XML"}),  # Sexual Health; Adult Content; Adult Video Games
    ),
    "religion": SpecialCategory(
        "Religious and philosophical beliefs",
        "GDPR Art. 9(1), religious or philosophical beliefs",
        frozenset({"453", "354", "361"}),  # Religion & Spirituality; Gospel Music; Religious Music
    ),
    "politics": SpecialCategory(
        "Political opinions",
        "GDPR Art. 9(1), political opinions",
        frozenset({"386", "Z7rJBM"}),  # Politics; Debated Sensitive Social Issues
    ),
    "union_membership": SpecialCategory(
        "Trade union membership",
        "GDPR Art. 9(1), trade union membership",
        frozenset(),  # the taxonomy has no topic for it; the page's words decide
    ),
    "ethnicity": SpecialCategory(
        "Racial or ethnic origin, migration",
        "GDPR Art. 9(1), racial or ethnic origin",
        frozenset(),  # likewise
    ),
}
