"""A user agent yields one of 24 devices and whether it declares a machine, and nothing else of it matters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.user_agent import LONGEST, read
from privacy.visit import DEVICE_CLASSES, PLATFORMS, Device

HERE = Path(__file__).parent
READERS = [line.split("\t") for line in (HERE / "readers.tsv").read_text().splitlines()[1:]]
MACHINES = ["", *(HERE / "machines.txt").read_text().splitlines()]

agents = (
    st.text(max_size=300) | st.sampled_from([reader[2] for reader in READERS]) | st.sampled_from(MACHINES)
)


@pytest.mark.parametrize(("mobile", "platform", "agent", "cls", "system"), READERS)
def test_a_real_device_is_recognised(mobile: str, platform: str, agent: str, cls: str, system: str) -> None:
    assert read(mobile, platform, agent)[0] == Device(cls, system)  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", [reader[2] for reader in READERS if reader[2]])
def test_a_reader_is_no_machine(agent: str) -> None:
    assert not read("", "", agent)[1]


@pytest.mark.parametrize("agent", MACHINES)
def test_a_declared_machine_is_one(agent: str) -> None:
    assert read("", "", agent)[1]


@given(st.text(max_size=5) | st.sampled_from(["?0", "?1"]), st.text(max_size=12), agents)
def test_nothing_else_ever_comes_out(mobile: str, platform: str, agent: str) -> None:
    found, _ = read(mobile, platform, agent)
    assert found.cls in DEVICE_CLASSES
    assert found.platform in PLATFORMS


@pytest.mark.parametrize(("mobile", "platform", "agent"), [reader[:3] for reader in READERS])
def test_a_version_changes_nothing(mobile: str, platform: str, agent: str) -> None:
    other = re.sub(r"(?<=/)\d+(\.\d+)*", "77.1.2", agent)
    assert read(mobile, platform, other) == read(mobile, platform, agent)


def test_what_stands_behind_the_longest_agent_is_not_read() -> None:
    agent = READERS[0][2].ljust(LONGEST)
    assert read("", "", agent + "iPad Googlebot") == read("", "", agent)


@pytest.mark.parametrize("agent", [reader[2] for reader in READERS if reader[2]])
@given(
    st.sampled_from(["", "?0", "?1"]), st.sampled_from(["", '"Windows"', '"Android"', '"macOS"', '"Fuchsia"'])
)
def test_the_quick_way_agrees_with_the_long_one(agent: str, mobile: str, platform: str) -> None:
    assert read(mobile, platform, agent) == read(mobile, platform, agent + " ")
