"""Keys are made once, kept closed, and never replaced in silence."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from privacy.errors import KeyringError
from privacy.keyring import Keyring

PURPOSES = ("page-url", "event-token")


def opened(folder: Path, *purposes: str) -> Keyring:
    return Keyring.open(folder, purposes or PURPOSES, random=os.urandom)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys"


def test_the_first_start_makes_closed_files_and_says_so(folder: Path) -> None:
    ring = opened(folder)
    assert len(ring.created) == 2
    assert all(str(folder) in line for line in ring.created)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert len(ring.key("page-url")) == 32
    assert ring.key("page-url") != ring.key("event-token")


def test_the_second_start_reads_the_same_keys_and_makes_none(folder: Path) -> None:
    first, second = opened(folder), opened(folder)
    assert second.created == ()
    assert [first.key(purpose) for purpose in PURPOSES] == [second.key(purpose) for purpose in PURPOSES]


def test_a_purpose_of_a_later_version_gets_its_key_beside_the_old_ones(folder: Path) -> None:
    first = opened(folder, "page-url")
    second = opened(folder)
    assert len(second.created) == 1
    assert "event-token" in second.created[0]
    assert first.key("page-url") == second.key("page-url")


def test_processes_that_start_at_once_share_one_key(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: opened(folder), range(32)))
    assert len({ring.key("page-url") for ring in rings}) == 1
    assert sum(len(ring.created) for ring in rings) == 2


@pytest.mark.parametrize("damage", ["", "garbage", "swap", "flip", "binary", "short"])
def test_a_damaged_key_is_refused_by_name(folder: Path, damage: str) -> None:
    opened(folder)
    path = folder / "page-url.key"
    text = path.read_text()
    bad = {
        "": b"",
        "garbage": b"hello",
        "swap": (folder / "event-token.key").read_bytes(),
        "flip": text.replace(text[30], "A" if text[30] != "A" else "B", 1).encode(),
        "binary": bytes(range(256)),
        "short": text[:40].encode(),
    }[damage]
    path.write_bytes(bad)
    with pytest.raises(KeyringError, match=r"page-url\.key.*Put it back"):
        opened(folder)
    assert path.read_bytes() == bad  # nothing was replaced


def test_a_damaged_list_of_keys_is_refused_by_name(folder: Path) -> None:
    opened(folder)
    (folder / "keys.txt").write_bytes(b"\xec\xff\x00")
    with pytest.raises(KeyringError, match=r"keys\.txt: damaged.*Put it back"):
        opened(folder)


def test_a_key_that_was_lost_is_not_made_anew(folder: Path) -> None:
    opened(folder)
    (folder / "page-url.key").unlink()
    with pytest.raises(KeyringError, match=r"page-url\.key.*gone"):
        opened(folder)
    assert not (folder / "page-url.key").exists()


@pytest.mark.parametrize(("name", "mode"), [("page-url.key", 0o640), ("page-url.key", 0o604), (".", 0o750)])
def test_a_key_that_others_may_read_is_refused_with_the_remedy(folder: Path, name: str, mode: int) -> None:
    opened(folder)
    (folder / name).chmod(mode)
    with pytest.raises(KeyringError, match="chmod"):
        opened(folder)


def test_what_the_system_refuses_is_told_with_the_file_and_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(folder)
    (folder / "page-url.key").unlink()
    (folder / "page-url.key").mkdir(mode=0o600)
    with pytest.raises(KeyringError, match=r"page-url\.key: cannot be read .* Let the service's user own"):
        opened(folder)
    beside = folder / "keys.txt"
    with pytest.raises(KeyringError, match=r"keys\.txt: cannot be read"):
        opened(beside)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyringError, match=r"other: cannot be .* \(No space left on device\)"):
        opened(folder.with_name("other"))


def test_a_mac_is_hmac_sha256(folder: Path) -> None:
    # RFC 4231, test case 1, with its key padded by zero bytes to 32: HMAC pads a short key so.
    ring = Keyring.open(folder, ("page-url",), random=lambda count: (b"\x0b" * 20).ljust(count, b"\0"))
    assert ring.mac("page-url", b"Hi There").hex() == (
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )


def test_a_purpose_that_was_not_opened_has_no_key(folder: Path) -> None:
    with pytest.raises(KeyringError, match="page-url"):
        opened(folder).key("nothing")
