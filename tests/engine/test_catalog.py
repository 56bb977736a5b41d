import threading
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from engine import catalog as catalog_module
from engine.campaign import Flight, Targeting
from engine.catalog import RETRY
from engine.change import Approval, content_hash
from engine.errors import SnapshotError, StoreError
from engine.index import Eligible
from engine.snapshot import open_snapshot
from tests.world import NOW, Site, World, advertiser, campaign, creative, publisher


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.put(publisher(), publisher("gazette", approval="manual"), advertiser())
    world.put(campaign(), *(creative(f"spring-{i}") for i in range(5)))
    return world


def running(view):
    return {view.snapshot.creative_id(row) for row in Eligible(view.paid).rows}


def test_a_snapshot_holds_what_the_store_holds(world):
    snapshot = world.view.snapshot
    assert snapshot.rows == 5
    assert [snapshot.creative_id(row) for row in range(5)] == [f"spring-{i}" for i in range(5)]
    assert all(snapshot.row_of(f"spring-{i}") == i for i in range(5))
    assert snapshot.row_of("nobody") is None
    record = snapshot.record(3)
    assert msgspec.json.decode(record.creative)["assets"]["headline"] == "headline of spring-3"
    assert record.click_url == "https://acme.example/"
    assert snapshot.advertiser(3) == "acme"
    assert set(snapshot.publishers) == {"planet", "gazette"}


def test_an_empty_catalogue_is_a_catalogue(tmp_path):
    world = World(tmp_path)
    world.put(publisher())
    view = world.view
    assert view.snapshot.rows == 0
    assert running(view) == set()


def test_a_change_is_served_after_a_refresh_and_the_old_view_stays_whole(world):
    before = world.view
    world.put(creative("spring-9"))
    assert running(before) == {f"spring-{i}" for i in range(5)}
    after = world.view
    assert running(after) == {f"spring-{i}" for i in range(5)} | {"spring-9"}
    assert after.snapshot.version > before.snapshot.version
    assert before.snapshot.row_of("spring-9") is None


def test_a_refresh_without_a_change_swaps_nothing(world):
    assert world.view is world.view


def test_a_pause_acts_on_the_snapshot_in_service_and_resuming_undoes_it(world):
    before = world.view
    world.put(campaign(status="paused"))
    paused = world.view
    assert paused.snapshot is before.snapshot
    assert running(paused) == set()
    world.put(campaign())
    world.put(creative("spring-2", status="paused"))
    assert running(world.view) == {"spring-0", "spring-1", "spring-3", "spring-4"}


def test_resuming_a_campaign_does_not_resume_its_paused_creatives(world):
    world.put(creative("spring-2", status="paused"), campaign(status="paused"))
    world.view  # noqa: B018 - refreshes
    world.put(campaign())
    assert "spring-2" not in running(world.view)


def test_what_changed_is_off_until_a_snapshot_holds_the_change(world, monkeypatch):
    world.view  # noqa: B018 - refreshes

    def broken(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(catalog_module, "build", broken)
    world.put(creative("spring-2", headline="something else"))
    view = world.view
    assert running(view) == {"spring-0", "spring-1", "spring-3", "spring-4"}
    monkeypatch.undo()
    assert len(running(world.view)) == 4  # it is not tried at every look
    world.now += RETRY
    assert running(world.view) == {f"spring-{i}" for i in range(5)}


def test_a_deleted_creative_is_gone(world):
    world.view  # noqa: B018 - refreshes
    world.remove(creative("spring-1"))
    assert "spring-1" not in running(world.view)


def test_flights_begin_and_end_to_the_second(world):
    start, end = NOW + timedelta(seconds=10), NOW + timedelta(seconds=20)
    world.put(campaign(flight=Flight(start, end)))
    world.catalog.refresh()
    for second, runs in ((0, False), (9, False), (10, True), (19, True), (20, False)):
        world.now = NOW + timedelta(seconds=second)
        assert bool(running(world.catalog.view(world.now))) is runs, second


def test_approval_by_hand_and_rejection_reach_the_publishers_bitmaps(world):
    view = world.view
    assert not Eligible(view.approved["gazette"]).count
    assert "planet" not in view.approved
    hashes = {f"spring-{i}": content_hash(creative(f"spring-{i}")) for i in range(5)}
    said = [Approval("gazette", "spring-1", "approved"), Approval("planet", "spring-2", "rejected")]
    world.store.approve(said, hashes, "test", NOW)
    after = world.view
    assert after.snapshot is view.snapshot
    assert list(Eligible(after.approved["gazette"]).rows) == [1]
    assert not Eligible(after.approved["planet"]).holds(np.array([2]))[0]
    assert Eligible(after.approved["planet"]).holds(np.array([0, 1, 3, 4])).all()


def test_rules_on_a_creatives_own_format_and_size_hold_everywhere(world):
    banner = creative("spring-8", format="banner", size=(300, 250))
    world.put(banner)
    only_native = msgspec.convert({"formats": {"include": ["native"]}}, Targeting)
    world.put(campaign(targeting=only_native))
    assert running(world.view) == {f"spring-{i}" for i in range(5)}


@pytest.mark.parametrize(
    "name", ["bid.npy", "records.npy", "bitmaps.npy", "manifest.json", "index/shape.json"]
)
@pytest.mark.parametrize("harm", ["missing", "cut", "changed"])
def test_a_damaged_file_is_refused_by_name(world, name, harm):
    world.view  # noqa: B018 - builds
    folder = next(f for f in (world.folder / "snapshots").iterdir() if f.is_dir())
    path = folder / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        if name == "manifest.json":
            path.write_bytes(b"{" + data)
    with pytest.raises(SnapshotError) as told:
        open_snapshot(folder)
    assert name in str(told.value)
    assert "delete the folder" in str(told.value)


def test_workers_share_one_snapshot_and_the_vectors_of_earlier_ones(world):
    first = world.view.snapshot.version
    other = World.__new__(World)
    other.__dict__.update(world.__dict__ | {"_catalog": None})
    built = []
    encode = world.encoder.encode
    world.encoder.encode = lambda texts, tokens=64: built.append(len(texts)) or encode(texts)
    assert other.view.snapshot.version == first
    world.put(creative("spring-9"))
    world.view  # noqa: B018 - builds
    assert sum(n for n in built if n < 100) == 1  # one new text, besides the taxonomy of a new world


def test_what_a_killed_builder_left_is_swept_away(world):
    world.view  # noqa: B018 - builds
    left = world.folder / "snapshots" / ".7-abc.99999"
    left.mkdir()
    world.put(creative("spring-9"))
    world.view  # noqa: B018 - builds
    assert not left.exists()


class Silent:
    """A store that is away."""

    def __getattr__(self, name):
        raise StoreError("the store is away")


def test_flights_and_requests_do_not_need_the_store(world):
    start = NOW + timedelta(seconds=10)
    world.put(campaign(flight=Flight(start, None)))
    assert running(world.view) == set()
    world.catalog._store = Silent()
    assert len(running(world.catalog.view(start))) == 5
    assert running(world.catalog.view(start)) == running(world.catalog.view(start + timedelta(days=900)))


def test_a_store_that_is_away_leaves_the_view_and_is_asked_again(world):
    before = world.view
    store, world.catalog._store = world.catalog._store, Silent()
    with pytest.raises(StoreError):
        world.catalog.refresh()
    assert world.catalog.view(NOW) is before
    world.catalog._store = store
    world.put(creative("spring-9"))
    assert "spring-9" in running(world.view)


def test_a_pause_acts_while_a_snapshot_is_being_built(world, monkeypatch):
    world.view  # noqa: B018 - builds
    begun, go_on = threading.Event(), threading.Event()
    build = catalog_module.build

    def slow(*arguments):
        begun.set()
        assert go_on.wait(20)
        build(*arguments)

    monkeypatch.setattr(catalog_module, "build", slow)
    world.put(creative("spring-9"))
    builder = threading.Thread(target=world.catalog.rebuild)
    builder.start()
    try:
        assert begun.wait(20)
        world.put(msgspec.structs.replace(creative("spring-1"), status="paused"))
        assert world.catalog.switch()
        assert running(world.catalog.view(NOW)) == {"spring-0", "spring-2", "spring-3", "spring-4"}
    finally:
        go_on.set()
        builder.join(20)
    assert running(world.catalog.view(NOW)) == {"spring-0", "spring-2", "spring-3", "spring-4", "spring-9"}


def test_what_a_publisher_stops_or_blocks_acts_without_a_new_snapshot(tmp_path):
    world = World(tmp_path)
    planet = publisher()
    world.put(
        planet,
        publisher("gazette"),
        advertiser(),
        advertiser("rival"),
        campaign(),
        campaign("other", "rival", categories=("1004",)),
        creative(),
        creative("other-1", "other"),
    )
    site = Site(world)
    snapshot = world.view.snapshot

    def shown():
        world.catalog.switch()
        assert world.catalog.view(NOW).snapshot is snapshot
        return sorted(site.shown(title="a page")), sorted(site.shown(title="a page", publisher="gazette"))

    both = ["other-1", "spring-1"]
    assert shown() == (both, both)
    world.put(publisher(status="stopped"))
    assert shown() == ([], both)
    world.put(publisher(block_advertisers=("acme",)))
    assert shown() == (["other-1"], both)
    world.put(publisher(block_categories=("1002",)))  # alcohol, and the beer below it
    assert shown() == (["spring-1"], both)
    world.put(planet)
    assert shown() == (both, both)
