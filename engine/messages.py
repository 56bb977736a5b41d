"""Which of its messages a creative shows: drawn for each page view, by what fits and what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import msgspec

from contexts.rungs import uses_model
from engine.assemble import with_why
from engine.campaign import Size
from engine.chance import Chance
from engine.decision import Placement
from engine.gather import Gatherer
from engine.learn.response import Responses
from engine.message import Mixer, Mixture
from engine.retrieve import limits_of
from engine.scene import Choice, Key, Scene


class Messages:
    """Puts creatives together that have several messages."""

    def __init__(self, gatherer: Gatherer, now: Callable[[], datetime], chance: Chance) -> None:
        self._gatherer = gatherer
        self._now = now
        self._chance = chance

    def mixture(self, scene: Scene, placement: Placement, row: int, section: str) -> Mixture | None:
        """Return the messages that a creative may show at a placement; None where it has but one."""
        if placement.native is not None:
            return None  # somebody else's lengths, which the default message was held against
        kept, snapshot = scene.kept, scene.view.snapshot
        mixer = kept.mixers.get(row)
        if mixer is None:
            mixer = snapshot.mixer(row)
            if mixer is None:
                return None
            kept.mixers.put(row, mixer)
        size = _size(mixer, placement)
        key = (row, section, size)
        found = scene.settled.mixtures.get(key)
        if found is None:
            policy, learned = scene.view.policy, uses_model(scene.context)
            found = mixer.mix(
                scene.context,
                section,
                self._now(),
                limits_of(scene.view, scene.context),
                policy.responses if learned else Responses(None),
                policy.challenger if learned else None,
                self._gatherer.facets(scene.context),
                size,
            )
            scene.settled.mixtures.put(key, found)
        return found

    def put_together(self, scene: Scene, key: Key, choice: Choice, keep: bool) -> Choice:
        """Draw a message for each creative that has several."""
        draws = tuple(
            None if mixture is None else mixture.draw(self._chance.share()) for mixture in choice.mixtures
        )
        found = scene.settled.choices.get((key, draws)) if keep else None
        if found is None:
            filled, shown = list(choice.filled), list(choice.shown)
            explain = key[1]
            for at, (mixture, drawn) in enumerate(zip(choice.mixtures, draws, strict=True)):
                if mixture is not None and drawn is not None:
                    chosen = mixture.chosen(drawn)
                    shown[at] = shown[at]._replace(chosen=chosen)
                    filled[at] = msgspec.structs.replace(
                        filled[at],
                        creative=msgspec.Raw(
                            with_why(msgspec.json.encode(mixture.answer(drawn)), filled[at].why_url)
                        ),
                        propensity=round(shown[at].share * chosen.propensity, 6),
                        message=mixture.explained(drawn) if explain else None,
                    )
            found = replace(choice, filled=tuple(filled), shown=tuple(shown))
            if keep:
                scene.settled.choices.put((key, draws), found)
        return found


def _size(mixer: Mixer, placement: Placement) -> Size | None:
    """Return the size that a creative takes at a placement: the first that is asked for and there."""
    sizes = mixer.kit.creative.sizes
    return next((size for size in placement.sizes if size in sizes), sizes[0] if sizes else None)
