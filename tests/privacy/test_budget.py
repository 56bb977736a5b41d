import pytest

from privacy.budget import Charge, query_id


def test_spellings_of_a_query_share_one_name():
    assert query_id({"a": 1, "b": ["x", "y"]}) == query_id({"b": ["x", "y"], "a": 1})
    assert query_id({"a": 1}) != query_id({"a": "1"}) != query_id({"a": [1]})
    assert query_id({"b": ["x", "y"]}) != query_id({"b": ["y", "x"]})


@pytest.mark.parametrize(("cost", "cap"), [(-1, 5), (0.1, 5), (True, 5), (1, 2.0)])
def test_a_charge_is_in_whole_micro_epsilon(cost, cap):
    with pytest.raises(ValueError, match="micro-epsilon"):
        Charge("a/b", cost, cap)


@pytest.mark.parametrize("scope", ["", "a b", "a\nb 9 .", "/a", "A"])
def test_a_scope_is_a_path_of_words(scope):
    with pytest.raises(ValueError, match="scope"):
        Charge(scope, 1, 2)
