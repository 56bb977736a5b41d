import numpy as np
import pytest

from engine.decision import Ranked
from engine.rank import Shortlist, Standing, share_out
from engine.retrieve import Candidates
from tests.world import World, advertiser, campaign, creative, publisher


@pytest.fixture
def snapshot(tmp_path):
    world = World(tmp_path)
    bids = {"cheap": 1_000_000, "dear": 4_000_000, "free": 0}
    world.put(
        publisher(),
        advertiser(),
        *(campaign(name, cpm_micros=bid) for name, bid in bids.items()),
        *(creative(f"{name}-{i}", name) for name in bids for i in range(3)),
    )
    return world.view.snapshot


def ordered(snapshot, matches):
    """Order creatives by id → match; return ids."""
    rows = np.array([snapshot.row_of(name) for name in matches])
    values = np.array(list(matches.values()), np.float32)
    best = np.argsort(-values, kind="stable")
    return [snapshot.creative_id(r.row) for r in Shortlist(snapshot, Candidates(rows[best], values[best]))]


def test_among_peers_match_times_bid_decides(snapshot):
    assert ordered(snapshot, {"cheap-0": 0.60, "dear-0": 0.50}) == ["dear-0", "cheap-0"]


def test_no_bid_lifts_a_creative_that_does_not_fit_over_one_that_does(snapshot):
    assert ordered(snapshot, {"cheap-0": 0.60, "dear-0": 0.20}) == ["cheap-0", "dear-0"]


def test_behind_the_peers_of_the_best_come_the_peers_of_the_rest(snapshot):
    found = ordered(
        snapshot, {"cheap-0": 0.9, "cheap-1": 0.4, "dear-0": 0.35, "dear-1": 0.1, "cheap-2": 0.09}
    )
    assert found == ["cheap-0", "dear-0", "cheap-1", "dear-1", "cheap-2"]


def test_what_does_not_match_comes_last_whatever_it_bids(snapshot):
    assert ordered(snapshot, {"free-0": 0.01, "cheap-0": -0.1, "dear-0": -0.2}) == [
        "free-0",
        "cheap-0",
        "dear-0",
    ]


def test_equal_candidates_keep_the_order_of_their_rows(snapshot):
    found = ordered(snapshot, {"cheap-2": 0.5, "cheap-0": 0.5, "cheap-1": 0.5})
    assert found == ["cheap-0", "cheap-1", "cheap-2"]


def candidates(*pairs):
    return [Ranked(row, 1.0, 1.0, who, 1.0) for row, who in pairs]


def rows_of(chosen):
    return [[pick.row for pick in picks] for picks in chosen]


def test_no_creative_stands_twice_on_a_page():
    same = candidates((1, 0), (2, 1), (3, 2))
    assert rows_of(share_out([same, same], [1, 1])) == [[1], [2]]


def test_advertisers_are_mixed_while_there_is_another_to_show():
    same = candidates((1, 0), (2, 0), (3, 1))
    assert rows_of(share_out([same, same, same], [1, 1, 1])) == [[1], [3], [2]]


def test_a_placement_gets_as_many_as_it_asks_and_as_there_are():
    same = candidates((1, 0), (2, 0), (3, 1))
    assert rows_of(share_out([same], [2])) == [[1, 3]]
    assert rows_of(share_out([same], [9])) == [[1, 3, 2]]
    assert rows_of(share_out([[]], [2])) == [[]]


def test_what_is_taken_is_not_given_again():
    assert rows_of(share_out([candidates((1, 0), (2, 1))], [1], Standing({1}))) == [[2]]
