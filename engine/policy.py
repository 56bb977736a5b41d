"""What decides how creatives are put together and ordered: the live model, its challenger, the governor's counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.governor import Buckets
from engine.learn.response import Responses


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One state of it, swapped whole. Without a model the priors decide; without counts copy is generic."""

    responses: Responses = field(default_factory=lambda: Responses(None))
    challenger: Responses | None = None  # decides nothing: how often it would do the same is recorded
    buckets: Buckets = field(default_factory=Buckets)
