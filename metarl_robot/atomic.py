"""Files that are written whole or not at all, also when the process is killed or the disk full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import BinaryIO


def replace_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write `content` to `path` as `whole_file` does."""
    with whole_file(path, mode) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write to; it gets the name `path` when the block ends, and is removed if it raises.

    It is on the disk before it is renamed: `path` holds the old content or the new one, at any
    moment and after a power failure. A killed process leaves at most one `<name>.*.part`.

    Arguments:
        mode: permissions, less the umask.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{get_ident()}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(scratch, flags, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
