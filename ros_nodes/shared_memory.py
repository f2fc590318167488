# SPDX-License-Identifier: Apache-2.0
"""Removes ports in shared memory that a killed process left unfinished: a later node would wait for them for ever.

Fast DDS keeps one file in /dev/shm for each port of a participant on this machine. A process that opens a port waits
until its creator has finished it, without limit (boost::interprocess, managed_open_or_create_impl.hpp). The creator
makes an empty file, then sets its size, then its content; the first word then says that it is finished. A process that
is killed meanwhile (SIGKILL, out of memory) blocks every later participant with that port: the n-th node of a ROS
domain never starts, until the machine is restarted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

FOLDER = Path("/dev/shm")
MADE_WITHIN_S = 2.0  # a live process finishes a port within microseconds
_PORT = re.compile(r"fast(rtps|dds)_port[0-9]+")
_FINISHED_FROM = 2  # states of the first word: 0 untouched, 1 being made, 2 finished, 3 corrupt, which is noticed
_LOOK_S = 0.05


def remove_unfinished_ports(folder: Path = FOLDER) -> None:
    """Remove ports that nobody is making any more; call it before a process joins a ROS domain.

    Ports may still be in the making: all are waited for, together at most MADE_WITHIN_S. One that this user may not
    remove is named on stderr.
    """
    deadline = monotonic() + MADE_WITHIN_S
    for port in _ports(folder):
        with suppress(FileNotFoundError):
            while _is_unfinished(port) and monotonic() < deadline:
                sleep(_LOOK_S)
            if _is_unfinished(port):
                _remove(port)


def _ports(folder: Path) -> Iterator[Path]:
    with suppress(OSError):  # a system without it
        yield from (path for path in folder.iterdir() if _PORT.fullmatch(path.name))


def _is_unfinished(port: Path) -> bool:
    """Raises FileNotFoundError; a port that cannot be read counts as finished if it is not empty."""
    try:
        with port.open("rb") as file:
            word = file.read(4)
    except PermissionError:
        return port.stat().st_size == 0
    return int.from_bytes(word, sys.byteorder) < _FINISHED_FROM


def _remove(port: Path) -> None:
    try:
        port.unlink()
    except PermissionError:
        print(
            f"warning: {port} was left unfinished by a process that was killed, and belongs to another user: nodes may "
            "wait for it for ever; remove it",
            file=sys.stderr,
            flush=True,
        )
