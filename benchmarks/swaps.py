"""Catalogue swaps at full load: `python -m benchmarks swaps`.

A writer changes half of the creatives and campaigns again and again, removes some and adds others, while clients
ask as fast as the server answers. Every headline carries the version that wrote it, so that each answer can be
held against what the version that it names holds: a creative, campaign or headline of any other is a failure.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.catalogue import add_folder, prepare
from benchmarks.http import CONNECTIONS, known_texts, unlisted
from benchmarks.load import Outcome, closed_loop
from benchmarks.process import cores, service
from contexts.encoders import open_encoder
from engine.assemble import text_of
from engine.build import text_hash
from engine.campaign import Advertiser, Campaign
from engine.change import Change, Entity
from engine.config import Config
from engine.creative import Creative
from engine.store import SqliteStore

SWAP_S = 60.0  # within which a new version must be answered from
COMING = 10  # creatives that come and go with each version


class Assets(msgspec.Struct):
    """What is checked of an answer's native assets."""

    headline: str = ""


class Shown(msgspec.Struct):
    """What is checked of a creative."""

    id: str
    campaign: str
    assets: Assets
    landing_domain: str


class Filled(msgspec.Struct):
    """What is checked of a filled placement."""

    creative: Shown


class Answer(msgspec.Struct):
    """What is checked of an answer."""

    snapshot: int
    degraded: bool
    decisions: list[Filled]


@dataclass
class Seen:
    """What answers said, and what the versions hold: {creative: (campaign, headline, host it leads to)}."""

    versions: dict[int, dict[str, tuple[str, str, str]]] = field(default_factory=dict)
    newest: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    degraded: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, body: bytes) -> None:
        """Hold an answer against the version that it names."""
        answer = _decode(body)
        held = self.versions.get(answer.snapshot)
        if held is None:
            self.wrong.append(f"version {answer.snapshot} was never written")
            return
        for filled in answer.decisions:
            shown = filled.creative
            expected = held.get(shown.id)
            got = (shown.campaign, shown.assets.headline, shown.landing_domain)
            if got != expected:
                self.wrong.append(
                    f"version {answer.snapshot}, creative {shown.id}: {got}, expected {expected}"
                )
        self.degraded += answer.degraded
        self.answers[answer.snapshot] = self.answers.get(answer.snapshot, 0) + 1
        self.newest = max(self.newest, answer.snapshot)


_decode = msgspec.json.Decoder(Answer).decode


def main(argv: Sequence[str]) -> int:
    """Swap, ask, compare; return 1 where an answer is wrong or fails, or a swap does not come."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks swaps", description=__doc__)
    add_folder(parser)
    parser.add_argument("--rows", type=int, default=2000, help="creatives (default 2000)")
    parser.add_argument("--swaps", type=int, default=60, help="versions written (default 60)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default 1)")
    options = parser.parse_args(argv)
    load_core, server_core = cores() if options.workers == 1 else (None, None)
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory() as folder:
        # A copy of its own: the catalogue changes. Models are shared.
        (Path(folder) / "models").symlink_to((options.folder / "models").absolute())
        config = replace(prepare(Path(folder), options.rows), workers=options.workers, poll_ms=100)
        writer = _Writer(config)
        try:
            with service(config, server_core) as server:
                return _run(writer, server.port, options.swaps)
        finally:
            writer.store.close()


def _run(writer: _Writer, port: int, swaps: int) -> int:
    seen, requests = writer.seen, [*known_texts(), *unlisted()[:200]]
    closed_loop(port, requests, CONNECTIONS, 2.0)  # first views
    total, late = Outcome(), []
    done = threading.Event()

    def swap() -> None:
        for _ in range(swaps):
            started, version = time.monotonic(), writer.write()
            while seen.newest < version and time.monotonic() - started < SWAP_S:
                time.sleep(0.02)
            late.append(time.monotonic() - started)
        done.set()

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    while not done.is_set():
        outcome = closed_loop(port, requests, CONNECTIONS, 1.0, seen.check)
        total.answers += outcome.answers
        total.errors += outcome.errors
        total.unfilled += outcome.unfilled
    thread.join()
    served = sum(seen.answers.get(version, 0) > 0 for version in writer.written)
    print(
        f"{swaps} swaps, {served} of them answered from, {min(late):.1f} to {max(late):.1f} s from write to "
        f"first answer; {total.answers:,} answers from {len(seen.answers)} versions: {total.errors} errors, "
        f"{len(seen.wrong)} that match no version or another one, {seen.degraded} degraded, "
        f"{total.unfilled} with an empty place"
    )
    for fault in seen.wrong[:10]:
        print(f"  {fault}")
    return 0 if served == swaps and not total.errors and not seen.wrong else 1


class _Writer:
    """Writes new versions of a catalogue, and notes what each holds."""

    def __init__(self, config: Config) -> None:
        self.store = SqliteStore(config.database)
        self.seen = Seen()
        self.written: list[int] = []
        self._encoder_id = open_encoder(config.data_dir / "models").id
        with self.store.read() as reader:
            self._advertisers: dict[str, Advertiser] = {
                a.id: a for part in reader.advertisers() for a in part
            }
            self._campaigns: dict[str, Campaign] = {c.id: c for part in reader.campaigns() for c in part}
            self._creatives: dict[str, Creative] = {c.id: c for part in reader.creatives() for c in part}
        self._note(self.store.versions().catalog)

    def write(self) -> int:
        """Write the next version and return its number."""
        version = self.store.versions().catalog + 1
        changes: list[Change] = []
        for at, campaign in enumerate(list(self._campaigns.values())):
            if at % 2 == version % 2 and not campaign.house:
                bid = 300_000 + 7919 * version % 9_000_000
                self._put(changes, campaign, msgspec.structs.replace(campaign, cpm_micros=bid))
        ids = list(self._creatives)
        for at, id in enumerate(ids):
            if at % 2 == version % 2:
                creative = self._creatives[id]
                stamp = f"version {version} of {id}"
                self._put(changes, creative, self._with_vector(creative, headline=stamp))
        leaving = [id for at, id in enumerate(ids) if at % 2 != version % 2][:: max(1, len(ids) // COMING)]
        for number, id in enumerate(leaving):
            gone = self._creatives.pop(id)
            changes.append(Change(gone, None))
            new = f"{gone.campaign}-new-{version}-{number}"
            self._put(changes, None, self._with_vector(gone, id=new, headline=f"version {version} of {new}"))
        self._note(version)  # before a worker can see it
        self.store.write(changes, [], self.store.versions(), "benchmark", datetime.now(UTC))
        self.written.append(version)
        return version

    def _put(self, changes: list[Change], before: Entity | None, after: Campaign | Creative) -> None:
        changes.append(Change(before, after))
        kept: dict = self._campaigns if isinstance(after, Campaign) else self._creatives  # type: ignore[type-arg]
        kept[after.id] = after

    def _with_vector(self, creative: Creative, **more: str) -> Creative:
        """Change a creative; its new words keep the old ones' vector, so that nothing is encoded."""
        changed = msgspec.structs.replace(creative, **more)
        old, new = self._hash(creative), self._hash(changed)
        self.store.put_vectors(self._encoder_id, {new: self.store.vectors(self._encoder_id, [old])[old]})
        return changed

    def _hash(self, creative: Creative) -> str:
        campaign = self._campaigns[creative.campaign]
        return text_hash(text_of(creative, campaign, self._advertisers[campaign.advertiser]))

    def _note(self, version: int) -> None:
        self.seen.versions[version] = {
            c.id: (c.campaign, c.headline, urlsplit(c.landing_url).hostname or "")
            for c in self._creatives.values()
        }
