"""Slow twins: what the fast code computes, spelled out one creative at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from contexts.clock import part_of_day
from contexts.context import WEEKDAYS, Context
from engine.campaign import Campaign, Publisher, Rule, Targeting
from engine.creative import Creative
from engine.decision import Placement


def meets(rule: Rule, values: Iterable[str], *, known: bool = True) -> bool:
    """Any of `include`, where it is not empty, and none of `exclude`."""
    values = set(values) if known else set()
    return (not rule.include or bool(values & set(rule.include))) and not values & set(rule.exclude)


def may_run(
    creative: Creative,
    campaign: Campaign,
    publisher: Publisher,
    context: Context,
    topics: frozenset[str],
    placement: Placement,
    now: datetime,
    approvals: dict[tuple[str, str], str],
) -> bool:
    """Every hard rule, read off the objects."""
    if creative.status != "active" or campaign.status != "active" or campaign.house:
        return False
    flight = campaign.flight
    if (flight.start and now < flight.start) or (flight.end and now >= flight.end):
        return False
    said = approvals.get((publisher.id, creative.id))
    if said != "approved" if publisher.approval == "manual" else said == "rejected":
        return False
    if creative.format not in placement.formats:
        return False
    if creative.format == "banner" and placement.sizes and creative.size not in placement.sizes:
        return False
    floor = max(placement.floor_micros, publisher.floor_micros)
    if campaign.cpm_micros < floor:
        return False
    if campaign.advertiser in {*publisher.block_advertisers, *placement.block_advertisers}:
        return False
    if set(campaign.categories) & {*publisher.block_categories, *placement.block_categories}:
        return False
    if campaign.id in context.told.capped:
        return False
    avoid = campaign.suitability.avoid
    if context.page.sensitive and (avoid is None or context.page.sensitive & set(avoid)):
        return False
    if not context.page.suitability_known and not campaign.suitability.accept_unknown:
        return False
    return all(
        _targeted(t, creative, context, topics, floor) for t in (campaign.targeting, creative.targeting)
    )


def _targeted(t: Targeting, creative: Creative, context: Context, topics: frozenset[str], floor: int) -> bool:
    there = context.clock.at.astimezone(ZoneInfo(t.timezone)) if t.timezone else context.clock.at
    weather = context.weather
    seen = [v for v in (weather.condition, weather.temperature) if v] if weather else []
    place, page, told = context.place, context.page, context.told
    size_ok = creative.size is None or (
        (not t.sizes.include or creative.size in t.sizes.include) and creative.size not in t.sizes.exclude
    )
    return (
        meets(t.topics, topics)
        and meets(t.keywords, page.keyphrases)
        and meets(t.languages, [page.language or ""], known=page.language is not None)
        and meets(t.devices, [context.device.cls])
        and meets(t.platforms, [context.device.platform])
        and meets(t.parts_of_day, [part_of_day(there.hour)])
        and meets(t.weekdays, [WEEKDAYS[there.weekday()]])
        and meets(t.weather, seen)
        and meets(t.countries, [place.country or ""], known=place.country is not None)
        and meets(t.regions, [place.region or ""], known=place.region is not None)
        and meets(t.publishers, [context.publisher])
        and meets(t.cohorts, told.cohorts)
        and meets(t.journey_stages, [told.journey_stage or ""], known=told.journey_stage is not None)
        and meets(t.loyalty_tiers, [told.loyalty_tier or ""], known=told.loyalty_tier is not None)
        and meets(t.formats, [creative.format])
        and size_ok
        and (t.min_floor_micros or 0) <= floor
    )
