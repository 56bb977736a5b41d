"""Slow twins: what the fast code computes, spelled out one creative at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from contexts.clock import part_of_day
from contexts.context import WEEKDAYS, Context
from engine.campaign import Campaign, Condition, Hours, Publisher, Range, Rule, Targeting
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
    levels = ("none", "low", "medium", "high", "floor")
    for flag in context.page.sensitive:
        level = levels.index(context.page.risks.get(flag, "high"))
        if level > levels.index(publisher.risk):
            return False
        if (avoid is None or flag in avoid) and level > levels.index(campaign.suitability.risk):
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
        and meets(t.sections, [f"{context.publisher}/{context.section}"], known=context.section is not None)
        and meets(t.seasons, [context.clock.season or ""], known=context.clock.season is not None)
        and meets(t.holidays, _holidays(context))
        and meets(t.intents, [page.intent or ""], known=page.intent is not None)
        and (not t.hours or any(_on(hours, context) for hours in t.hours))
        and _within(t.temperature_c, weather and weather.temperature_c)
        and _within(t.wind_ms, weather and weather.wind_ms)
        and (t.rule is None or holds(t.rule, context, topics))
        and meets(t.formats, [creative.format])
        and size_ok
        and (t.min_floor_micros or 0) <= floor
    )


def holds(c: Condition, context: Context, topics: frozenset[str]) -> bool:
    """A nested rule, read off the context."""
    there = context.clock.at.astimezone(ZoneInfo(c.timezone)) if c.timezone else context.clock.at
    weather, place, page, told = context.weather, context.place, context.page, context.told
    known = {
        "topics": topics,
        "keywords": page.keyphrases,
        "languages": [page.language],
        "devices": [context.device.cls],
        "platforms": [context.device.platform],
        "parts_of_day": [part_of_day(there.hour)],
        "weekdays": [WEEKDAYS[there.weekday()]],
        "weather": [weather.condition, weather.temperature] if weather else [],
        "countries": [place.country],
        "regions": [place.region],
        "publishers": [context.publisher],
        "sections": [f"{context.publisher}/{context.section}"] if context.section else [],
        "seasons": [context.clock.season],
        "holidays": _holidays(context),
        "intents": [page.intent],
        "cohorts": told.cohorts,
        "journey_stages": [told.journey_stage],
        "loyalty_tiers": [told.loyalty_tier],
        "sensitive": page.sensitive,
    }
    return (
        all(not getattr(c, name) or set(getattr(c, name)) & set(values) for name, values in known.items())
        and (not c.hours or any(_on(hours, context) for hours in c.hours))
        and _within(c.temperature_c, weather and weather.temperature_c)
        and _within(c.wind_ms, weather and weather.wind_ms)
        and all(holds(part, context, topics) for part in c.all)
        and (not c.any or any(holds(part, context, topics) for part in c.any))
        and not any(holds(part, context, topics) for part in c.none)
    )


def _holidays(context: Context) -> list[str]:
    return ["any", context.clock.holiday.lower()] if context.clock.holiday else []


def _on(hours: Hours, context: Context) -> bool:
    there = context.clock.at.astimezone(ZoneInfo(hours.timezone)) if hours.timezone else context.clock.at
    days, at = hours.weekdays or WEEKDAYS, there.strftime("%H:%M")
    today, yesterday = WEEKDAYS[there.weekday()], WEEKDAYS[(there.weekday() - 1) % 7]
    if hours.start < hours.end:
        return today in days and hours.start <= at < hours.end
    return (today in days and hours.start <= at) or (yesterday in days and at < hours.end)


def _within(asked: Range | None, number: float | None) -> bool:
    if asked is None:
        return True
    if number is None:
        return False
    low = float("-inf") if asked.at_least is None else asked.at_least
    high = float("inf") if asked.below is None else asked.below
    return low <= number < high
