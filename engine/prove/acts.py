"""What a process does where its folder does not show it: files elsewhere, the network, other processes.

By the interpreter's audit events (PEP 578), which see what Python code asks for, and not what a library in C does by
itself: that is for strace (`engine.prove.written`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_PATHS = {
    **dict.fromkeys(("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.truncate"), 2),
    "sqlite3.connect": 1,
}  # event → how many of its arguments are paths
# Whatever they name: times, rights and marks of a file tell of readers, too, and are in no digest of what is kept.
_ALWAYS = frozenset(
    {
        *("os.utime", "os.chmod", "os.chown", "os.setxattr", "os.putenv", "os.unsetenv", "os.system"),
        *("os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "syslog.syslog"),
        *("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind", "socket.getaddrinfo"),
        *("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
    }
)
_folders: list[Path] = []  # at most one, below which may be written, while somebody listens
_acts: list[str] = []


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Collect what is done beside writing below the folder while the block runs, by whichever thread."""
    _listen()
    _acts.clear()
    _folders[:] = [folder.resolve()]
    try:
        yield _acts
    finally:
        _folders.clear()


@lru_cache(maxsize=1)
def _listen() -> None:
    """Add the hook, which no process can take away again."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _folders:
        return
    folder = _folders[0]
    if event in _ALWAYS:
        _acts.append(event)
    elif event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and _is_elsewhere(path, folder):
            _acts.append(f"{event} {os.fsdecode(path)}")
    elif event in _PATHS and any(_is_elsewhere(path, folder) for path in arguments[: _PATHS[event]]):
        _acts.append(event)


def _is_elsewhere(path: Any, folder: Path) -> bool:
    if isinstance(path, int):
        return False  # a file that is open
    text = os.fsdecode(path)
    if "__pycache__" in text or text.startswith((":memory:", "file:", "/dev/")):
        return False
    return not Path(os.path.realpath(text)).is_relative_to(folder)
