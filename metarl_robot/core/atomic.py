# SPDX-License-Identifier: Apache-2.0
"""Atomic file writes and safe file names.

A file is written completely or not at all, also when the process is killed or the disk is full. A file name that
comes from a user's file (a robot's name) cannot lead out of its folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import BinaryIO

from metarl_robot.core.errors import MetaRLError

_LONGEST_NAME = 100


def file_name(what: str, name: str) -> str:
    """Return `name` if it is a valid file or folder name.

    Raises:
        MetaRLError: empty, too long, begins with '.' or '-', or holds a separator or a control character.
    """
    wrong = not 0 < len(name) <= _LONGEST_NAME or name[0] in ".-"
    if wrong or not name.isprintable() or any(separator in name for separator in "/\\:"):
        given = f"{what} {name[:_LONGEST_NAME]!r} cannot be the name of a file"
        allowed = f"1 to {_LONGEST_NAME} characters without / \\ and :, not beginning with . or -"
        raise MetaRLError(f"{given}; allowed: {allowed}")
    return name


def replace_file(path: Path, content: bytes, mode: int = 0o666, durable: bool = True) -> None:
    """Write `content` to `path` as `whole_file` does."""
    with whole_file(path, mode, durable) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a scratch file that is renamed to `path` when the block ends and removed if the block raises.

    The content is on the disk before the rename: at any moment, and after a power failure, `path` holds the old
    content or the new one. A killed process leaves at most one `<name>.*.part`.

    Arguments:
        mode: permissions, less the umask.
        durable: wait for the disk. Without it, a power failure (not a kill) may lose both contents.

    Raises:
        OSError: the file cannot be written; `path` is unchanged.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{get_ident()}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(scratch, flags, mode), "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
