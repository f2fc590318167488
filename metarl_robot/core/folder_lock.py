# SPDX-License-Identifier: Apache-2.0
"""One process at a time in a folder; the lock ends with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarl_robot.core.errors import MetaRLError


@contextmanager
def locked_folder(folder: Path, remedy: str) -> Iterator[None]:
    """Hold a lock on an existing folder; no file is left in it.

    File systems that cannot lock a folder (some network ones) are used without a lock.

    Arguments:
        remedy: what to do instead, for the message.

    Raises:
        MetaRLError: another process holds it.
    """
    import fcntl  # not on Windows

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise MetaRLError(f"{folder}: another process is writing there; {remedy}") from error
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(handle)
