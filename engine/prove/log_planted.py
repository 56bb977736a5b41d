"""Faults planted in a consent log, each of which a watcher of `tactful prove log` has to find."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from engine.log_files import CHECKPOINT, SIGNED
from engine.prove.log import START, Plant, Watched, score
from engine.store import tamper_sqlite
from privacy.checkpoint import Checkpoint, Note, read_checkpoint, read_note
from privacy.consent_log import leaf
from privacy.log_shards import Shard, first_leaf, last_leaf
from privacy.tlog_proof import Proof, read_proof

YEARS = (2027, 2029)  # in which the log gets another shard; the service stands still for a year between


def scores(folder: Path) -> dict[str, bool]:
    """Plant every fault, below the folder; tell of each whether it was found. Raises EngineError."""
    return score(folder / "one", PLANTED) | score(folder / "shards", PLANTED_IN_SHARDS, YEARS)


def _flip(path: str, at: int = 0) -> Plant:
    def plant(log: Watched) -> None:
        file = log.files.folder / path
        data = bytearray(file.read_bytes())
        data[at] ^= 1
        file.write_bytes(data)

    return plant


def _remove(path: str) -> Plant:
    return lambda log: (log.files.folder / path).unlink()


def _overwrite(seq: int, entry: bytes) -> Plant:
    return lambda log: tamper_sqlite.overwrite(log.store, {seq: entry})


def _drop(seq: int) -> Plant:
    return lambda log: tamper_sqlite.drop(log.store, seq, seq)


def _drop_last(log: Watched) -> None:
    tamper_sqlite.drop(log.store, log.leaves.count() - 1, log.leaves.count())


def _swap(log: Watched) -> None:
    first, second = log.leaves.read(40, 42)
    tamper_sqlite.overwrite(log.store, {40: second, 41: first})


def _appended(data: Callable[[int], bytes]) -> Plant:
    def plant(log: Watched) -> None:
        with log.store.writing() as db:
            log.leaves.append(db, [data])

    return plant


def _rewritten(seed: int, count: int) -> Plant:
    """Replace the whole log by another one of the same keys: nothing in it contradicts itself."""

    def plant(log: Watched) -> None:
        folder = log.config.data_dir.parent / "other"
        (folder / "keys").mkdir(parents=True, mode=0o700)
        for path in log.config.key_dir.iterdir():
            if path.suffix in (".key", ".txt"):
                shutil.copy2(path, folder / "keys" / path.name)
        other = Watched(folder, seed)
        other.now = log.now - timedelta(hours=1)
        other.append(count)
        other.step()
        log.replace_by(other)
        other.close()

    return plant


def _restored(log: Watched) -> None:
    """Restore the checkpoint of an hour ago, sign it anew, and forget what came after."""
    old = read_checkpoint(read_note(log.looks[0]).text)
    tamper_sqlite.drop(log.store, old.size - 1, log.leaves.count())
    with suppress(FileNotFoundError):
        (log.config.key_dir / SIGNED).unlink()
    shutil.rmtree(log.files.folder / "tile")
    (log.files.folder / CHECKPOINT).unlink()
    log.log.close()
    log.step()


def _resigned(change: Callable[[Watched, Checkpoint], tuple[int, bytes]]) -> Plant:
    def plant(log: Watched) -> None:
        now = read_checkpoint(read_note(log.files.checkpoint() or b"").text)
        log.sign(*change(log, now))

    return plant


def _seen_again(log: Watched) -> None:
    log.files.put_checkpoint(log.looks[0])


def _unsigned_by(key: int) -> Plant:
    def plant(log: Watched) -> None:
        now = read_checkpoint(read_note(log.files.checkpoint() or b"").text)
        log.sign(now.size, now.root, keys=(1 - key,))

    return plant


def _flipped_signature(key: int) -> Plant:
    def plant(log: Watched) -> None:
        note = read_note(log.files.checkpoint() or b"")
        lines = list(note.signatures)
        broken = bytearray(lines[key].signature)
        broken[-1] ^= 1
        lines[key] = lines[key]._replace(signature=bytes(broken))
        log.files.put_checkpoint(Note(note.text, tuple(lines)).encode())

    return plant


def _forgotten(log: Watched) -> None:
    (log.config.key_dir / SIGNED).unlink()


def _smaller_memory(log: Watched) -> None:
    log.remember(log.shards.log, 1, bytes(32))


def _stalled(log: Watched) -> None:
    log.now += timedelta(hours=2)


def _receipt(change: Callable[[Proof, bytes], tuple[Proof, bytes]]) -> Plant:
    def plant(log: Watched) -> None:
        data, entry = log.receipts[2]
        proof, entry = change(read_proof(data), entry)
        log.receipts.append((proof.encode(), entry))

    return plant


PLANTED: Mapping[str, Plant] = {
    "an entry is changed in the store": _overwrite(100, b'{"seq":100,"v":1}'),
    "the first entry is changed in the store": _overwrite(0, b"{}"),
    "an entry is taken out of the store": _drop(100),
    "the last entry is taken out of the store": _drop_last,
    "two entries are swapped in the store": _swap,
    "an entry does not know its place": _appended(lambda seq: leaf(seq + 1, "consent.grant", START)),
    "an entry is not canonical": _appended(lambda seq: leaf(seq, "consent.grant", START) + b" "),
    "a full tile of hashes is damaged": _flip("tile/0/000", 5000),
    "a partial tile of hashes is damaged": _flip("tile/0/002.p/93"),
    "a tile of a higher level is damaged": _flip("tile/1/000.p/2"),
    "a tile of entries is damaged": _flip("tile/entries/001", 700),
    "a partial tile of entries is damaged": _flip("tile/entries/002.p/93", 30),
    "a tile is missing": _remove("tile/0/001"),
    "a tile of entries is missing": _remove("tile/entries/000"),
    "another root is signed at the same size": _resigned(lambda log, now: (now.size, bytes(32))),
    "a larger size is signed than there are entries": _resigned(lambda log, now: (now.size + 1, now.root)),
    "a smaller size is signed": _resigned(lambda log, now: (now.size - 1, now.root)),
    "an older checkpoint is served": _seen_again,
    "the Ed25519 signature is left out": _unsigned_by(0),
    "the ML-DSA-44 signature is left out": _unsigned_by(1),
    "the Ed25519 signature is damaged": _flipped_signature(0),
    "the ML-DSA-44 signature is damaged": _flipped_signature(1),
    "what was signed last is forgotten": _forgotten,
    "what was signed last is smaller than what is published": _smaller_memory,
    "nothing is signed any more": _stalled,
    "the log is rewritten with another history": _rewritten(12, 700),
    "the log is rewritten with a shorter history": _rewritten(13, 20),
    "the log is rolled back and signed anew": _restored,
    "a receipt is shown for another entry": _receipt(lambda proof, entry: (proof, entry[:-1] + b" }")),
    "a receipt is shown for another place": _receipt(
        lambda proof, entry: (replace(proof, index=proof.index + 1), entry)
    ),
    "a receipt's path is damaged": _receipt(
        lambda proof, entry: (replace(proof, path=(bytes(32), *proof.path[1:])), entry)
    ),
    "a receipt's path is too long": _receipt(
        lambda proof, entry: (replace(proof, path=(*proof.path, bytes(32))), entry)
    ),
}


# --- among shards: the first, that of 2027, and the newest ---


def _among(which: int, change: Callable[[Watched, Shard], None]) -> Plant:
    return lambda log: change(log, log.shards.all()[which])


def _retold(change: Callable[[Watched, Shard, list[bytes]], list[bytes]]) -> Callable[[Watched, Shard], None]:
    """Tell other leaves in a shard, in the store and as it is published, all signed anew."""

    def plant(log: Watched, shard: Shard) -> None:
        leaves = log.shards.leaves(shard).read(0, log.shards.leaves(shard).count())
        told = change(log, shard, leaves)
        if len(told) == len(leaves):
            tamper_sqlite.overwrite(log.store, dict(enumerate(told, shard.first)))
        log.publish_as(shard, told)

    return plant


def _another_root(log: Watched, shard: Shard, leaves: list[bytes]) -> list[bytes]:
    before = log.shards.of(shard.first - 1)
    end = Checkpoint(before.origin, before.size or 0, bytes(32))
    return [first_leaf(shard.first, log.now, end), *leaves[1:]]


def _another_size(log: Watched, shard: Shard, leaves: list[bytes]) -> list[bytes]:
    before = log.shards.of(shard.first - 1)
    final = read_checkpoint(read_note(log.shards.files(before).checkpoint() or b"").text)
    return [first_leaf(shard.first, log.now, replace(final, size=final.size - 1)), *leaves[1:]]


def _one_more(log: Watched, shard: Shard, leaves: list[bytes]) -> list[bytes]:
    return [*leaves, leaf(shard.first + len(leaves), "consent.grant", log.now)]


def _another_next(log: Watched, shard: Shard, leaves: list[bytes]) -> list[bytes]:
    return [*leaves[:-1], last_leaf(shard.first + len(leaves) - 1, log.now, f"{log.shards.log}/2029")]


def _changed(log: Watched, shard: Shard, leaves: list[bytes]) -> list[bytes]:
    return [*leaves[:9], leaf(shard.first + 9, "consent.refuse", log.now), *leaves[10:]]


def _first_left_out(log: Watched, shard: Shard, leaves: list[bytes]) -> list[bytes]:
    return [leaf(shard.first, "consent.refuse", log.now), *leaves[1:]]


def _files_gone(log: Watched, shard: Shard) -> None:
    shutil.rmtree(log.shards.files(shard).folder)


def _unlisted(log: Watched, shard: Shard) -> None:
    listed = [(one.first, one.origin) for one in log.shards.all()[1:] if one != shard]
    log.store.put_setting("log-shards", json.dumps(listed))


def _smaller_end(log: Watched, shard: Shard) -> None:
    log.shards.files(shard).put_checkpoint(log.looks[0])


def _another_end(log: Watched, shard: Shard) -> None:
    log.sign(shard.size or 0, bytes(32), shard=shard)


def _flipped(path: str, at: int) -> Callable[[Watched, Shard], None]:
    def plant(log: Watched, shard: Shard) -> None:
        file = log.shards.files(shard).folder / path
        data = bytearray(file.read_bytes())
        data[at] ^= 1
        file.write_bytes(data)

    return plant


def _second_head(log: Watched, shard: Shard) -> None:
    """Show somebody another shard of the same year and name."""
    other = Shard(shard.origin, shard.first)
    sound = log.shards.files(shard).checkpoint() or b""
    leaves = log.shards.leaves(shard).read(0, 100)
    log.publish_as(other, _changed(log, other, leaves))
    log.looks.append(log.shards.files(shard).checkpoint() or b"")
    log.shards.files(shard).put_checkpoint(sound)


def _head_beside(log: Watched, shard: Shard) -> None:
    """Sign a shard that the log does not lead to."""
    log.remember(f"{log.shards.log}/2028", 1, bytes(32))


def _end_forgotten(log: Watched, shard: Shard) -> None:
    kept = [one for one in log.files.remembered() if one.origin != shard.origin]
    told = [{"origin": one.origin, "size": one.size, "root": one.root.hex()} for one in kept]
    (log.config.key_dir / SIGNED).write_text(json.dumps(told))


def _before_the_turn(log: Watched, shard: Shard) -> None:
    """Restore store and files from before a shard began; the key folder is not restored."""
    tamper_sqlite.drop(log.store, shard.first - 1, log.leaves.count())
    _unlisted(log, shard)
    shutil.rmtree(log.shards.files(shard).folder)
    before = log.shards.newest()
    log.shards.files(before).put_checkpoint(
        next(note for note in reversed(log.looks) if before.origin in _name(note))
    )
    log.log.close()
    log.step()


def _name(note: bytes) -> list[str]:
    return [read_checkpoint(read_note(note).text).origin]


def _moved_receipt(log: Watched) -> None:
    """Show an old entry's place under the checkpoint of the newest shard."""
    data, entry = log.receipts[0]
    newest = read_note(log.files.checkpoint() or b"")
    log.receipts.append((replace(read_proof(data), note=newest).encode(), entry))


PLANTED_IN_SHARDS: Mapping[str, Plant] = {
    "a shard is opened again": _among(0, _retold(_one_more)),
    "a shard in the middle is opened again": _among(1, _retold(_one_more)),
    "an entry of a shard that is over is changed and signed anew": _among(0, _retold(_changed)),
    "a first entry commits to another root": _among(1, _retold(_another_root)),
    "the newest first entry commits to another root": _among(2, _retold(_another_root)),
    "a first entry commits to another size": _among(2, _retold(_another_size)),
    "a shard begins without a word of the one before": _among(1, _retold(_first_left_out)),
    "a last entry names another shard": _among(0, _retold(_another_next)),
    "a shard in the middle is left out": _among(1, _files_gone),
    "the newest shard is left out": _among(2, _files_gone),
    "a shard is left out of the store's list": _among(1, _unlisted),
    "a smaller end of a shard is served": _among(0, _smaller_end),
    "another end of a shard is signed": _among(1, _another_end),
    "a tile of a shard that is over is damaged": _among(0, _flipped("tile/0/001", 40)),
    "entries of a shard in the middle are damaged": _among(1, _flipped("tile/entries/000", 40)),
    "the newest shard has two heads": _among(2, _second_head),
    "a shard is signed that nothing leads to": _among(2, _head_beside),
    "how a shard ended is forgotten": _among(0, _end_forgotten),
    "the log is rolled back to before a turn": _among(2, _before_the_turn),
    "a receipt is shown for another shard": _moved_receipt,
}
