"""Campaigns: their price, their flight, who takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from contexts.context import SENSITIVE
from engine.campaign import PRICES, Campaign, PoliticalNotice, Publisher, Rule
from engine.check.findings import Findings, Known
from engine.check.targeting import check_targeting
from engine.check.values import check_prefer, check_product, check_word, check_zone, tidy_words
from engine.conditions import walk
from engine.creative_safety import check_text, landing_url


def check_campaign(campaign: Campaign, known: Known, found: Findings) -> Campaign:
    """Return the campaign with its words in lower case."""
    with found.collecting():
        check_text(campaign.name, "name", found.line)
        check_text(campaign.paid_by, "paid_by", found.line)
    _check_price(campaign, found)
    check_zone(campaign.flight.timezone, "flight.timezone", found)
    _check_flight(campaign, found)
    _check_political(campaign, found)
    for number, product in enumerate(campaign.categories):
        check_product(product, f"categories[{number}]", known, found)
    for number, key in enumerate(campaign.suitability.avoid or ()):
        check_word(key, f"suitability.avoid[{number}]", SENSITIVE, found)
    check_prefer(campaign.prefer, found)
    return replace(
        campaign,
        keywords=tidy_words(campaign.keywords, "keywords", found),
        separation=tidy_words(campaign.separation, "separation", found),
        targeting=check_targeting(campaign.targeting, known, found),
    )


def check_ended(campaign: Campaign, before: Campaign | None, now: datetime, found: Findings) -> None:
    """Refuse a flight that is over, unless it is one that was booked before."""
    end = campaign.flight.end
    if end is not None and end <= now and (before is None or before.flight != campaign.flight):
        found.refuse(
            "flight.end", end.isoformat(), f"a time to come: it is {now.isoformat(timespec='seconds')}"
        )


def check_sold_to(campaign: Campaign, publishers: Mapping[str, Publisher], found: Findings) -> None:
    """Refuse a political campaign that no publisher takes; `publishers` are all of them."""
    if not campaign.political:
        return
    named = campaign.targeting.publishers.include
    takers = sorted(id for id, publisher in publishers.items() if publisher.political)
    for number, id in enumerate(named):
        if id not in takers:
            expected = "a publisher that takes political advertisements (political: true)"
            found.refuse(f"targeting.publishers.include[{number}]", id, expected)
    if not named and not takers:
        found.refuse("political", True, "false: no publisher takes political advertisements")


def _check_flight(campaign: Campaign, found: Findings) -> None:
    flight = campaign.flight
    start, end = flight.start, flight.end
    if start is not None and end is not None and start >= end:
        found.refuse("flight.end", end.isoformat(), f"a time after the start, {start.isoformat()}")
    for name in ("budget_micros", "daily_budget_micros"):
        if getattr(flight, name) == 0:
            expected = "at least 1, or nothing: without a budget it is not bounded; status paused stops it"
            found.refuse(f"flight.{name}", 0, expected)
    if flight.pacing == "asap":
        return
    spread = flight.daily_budget_micros is not None or (flight.budget_micros and start and end)
    if not spread:
        expected = "asap, or a daily budget, or a budget with start and end, to be spread"
        found.refuse("flight.pacing", flight.pacing, expected)


def _check_political(campaign: Campaign, found: Findings) -> None:
    notice = campaign.political_notice
    if not campaign.political:
        if notice is not None:
            found.refuse("political_notice", "a notice", "nothing, or political: true")
        return
    told = notice or PoliticalNotice()
    for name, what in (
        ("sponsor", "who pays, with the address that is published"),
        ("amount", "what is paid in all, with its currency"),
        ("process", "the election, referendum or law that it is linked to"),
        ("notice_url", "the address of the transparency notice"),
    ):
        value = getattr(told, name)
        with found.collecting():
            check_text(value, f"political_notice.{name}", found.line)
        if not value.strip():
            found.refuse(f"political_notice.{name}", value, f"{what} (Regulation (EU) 2024/900, article 12)")
    if told.notice_url.strip():
        with found.collecting():
            landing_url(told.notice_url, None, "political_notice.notice_url", found.line)
    targeting = campaign.targeting
    rules = [targeting, *(walk(targeting.rule) if targeting.rule else ())]
    for name in ("cohorts", "journey_stages", "loyalty_tiers"):
        if any(getattr(rule, name) not in ((), Rule()) for rule in rules):
            expected = "nothing: political advertisements use no consented signal"
            found.refuse(f"targeting.{name}", "a rule", expected)
    if campaign.frequency_cap is not None:
        found.refuse("frequency_cap", campaign.frequency_cap, "nothing: it uses a consented signal")


def _check_price(campaign: Campaign, found: Findings) -> None:
    prices = {name: getattr(campaign, name) for name in PRICES if getattr(campaign, name)}
    if campaign.house:
        for name, micros in prices.items():
            found.refuse(name, micros, "0: a house campaign is never paid")
        if campaign.guaranteed:
            found.refuse("guaranteed", True, "false: a house campaign comes last")
        if campaign.share_cap is not None:
            found.refuse("share_cap", campaign.share_cap, "nothing: a house campaign takes what is left")
        return
    if not prices:
        found.refuse("cpm_micros", 0, f"at least 1 (or {' or '.join(PRICES[1:])}), or house: true")
    for name in list(prices)[1:]:
        found.refuse(name, prices[name], f"one price alone: {next(iter(prices))} is given")
