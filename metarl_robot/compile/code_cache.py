# SPDX-License-Identifier: Apache-2.0
"""Cache of compiled code on disk, in a folder to which no other user can write.

A library is stored as `<key>-<digest>.so`. The key stands for source, command and processor. The digest is the
SHA-256 of key and content, so that a truncated, altered or renamed library is not found.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import warnings
from contextlib import suppress
from pathlib import Path

from metarl_robot.core.atomic import replace_file

_said: set[str] = set()
_saying = threading.Lock()


def cache_folder() -> Path:
    """The cache folder: $METARL_CACHE, else $XDG_CACHE_HOME/metarl_robot, else ~/.cache/metarl_robot.

    An empty variable counts as unset, as does a relative XDG_CACHE_HOME (as XDG demands).

    Raises:
        RuntimeError: none of the variables is set and the user has no home folder.
    """
    if os.environ.get("METARL_CACHE"):
        return Path(os.environ["METARL_CACHE"])
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "metarl_robot"


def private_folder() -> Path | None:
    """The cache folder, created if needed; None, with a warning, if it is not safe to use."""
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve(strict=True)
        for place in (folder, *folder.parents):
            _check_owner(place, place.stat())
    except (OSError, RuntimeError) as error:
        warn_of_cache(error)
        return None
    return folder


def find(folder: Path, key: str) -> Path | None:
    """The library stored under `key`; None if there is none, or it is damaged or not ours."""
    return next((path for path in folder.glob(f"{key}-*.so") if _is_intact(path, key)), None)


def store(folder: Path, key: str, content: bytes) -> Path:
    """Store a library under `key`. Raises OSError."""
    path = folder / f"{key}-{_digest(key, content)}.so"
    replace_file(path, content, mode=0o600)
    return path


def warn_of_cache(error: Exception) -> None:
    """Warn once that compiled code is not stored, with the reason."""
    remedy = "set METARL_CACHE to a folder that you alone can write to"
    warn_once("cache", f"compiled code is not kept, every start takes longer: {error}; {remedy}")


def warn_once(subject: str, message: str) -> None:
    """Warn at most once per process about a subject."""
    with _saying:
        known = subject in _said
        _said.add(subject)
    if not known:
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _is_intact(path: Path, key: str) -> bool:
    with suppress(OSError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            _check_owner(path, status)
            if stat.S_ISREG(status.st_mode):
                return path.stem == f"{key}-{_digest(key, file.read())}"
    return False


def _digest(key: str, content: bytes) -> str:
    return hashlib.sha256(key.encode() + content).hexdigest()


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Raise PermissionError if another user can replace or write to the path.

    In a sticky folder only the owner of an entry can replace it. A group with the user's own number is private by
    convention; folders are often writable by it.
    """
    user = os.geteuid()
    if status.st_uid not in (0, user):
        raise PermissionError(f"{path} belongs to another user (uid {status.st_uid})")
    others = stat.S_IWOTH if status.st_gid in (0, user) else stat.S_IWOTH | stat.S_IWGRP
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & others and not sticky:
        raise PermissionError(f"other users can write to {path} (chmod go-w)")
