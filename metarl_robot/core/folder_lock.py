# SPDX-License-Identifier: Apache-2.0
"""A lock that admits one process at a time to a folder; it ends with its process, also after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarl_robot.core.errors import MetaRLError


@contextmanager
def locked_folder(folder: Path, remedy: str) -> Iterator[None]:
    """Hold a lock on an existing folder; leaves no file in it.

    File systems that cannot lock a folder (some network ones) are used without a lock.

    Arguments:
        remedy: advice for the error message.

    Raises:
        MetaRLError: another process holds the lock.
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
