# SPDX-License-Identifier: Apache-2.0
"""Ensures unique node names in a ROS domain on this machine: ROS itself does not notice two gates for one robot.

A running node holds a socket with an address, in Linux's abstract namespace, made of its domain and its full name.
The kernel gives the address to one process at a time, of any user, and releases it when that process ends for any
reason.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from contextlib import suppress

from metarl_robot.core.errors import MetaRLError

_QUESTIONS = 64  # processes that may ask the kernel at once for the name's holder
_ANSWER_S = 0.2


class NameTakenError(MetaRLError):
    """A node of the same name runs in the same ROS domain on this machine."""


def claim_name(domain: int, name: str) -> socket.socket:
    """Claim a node's full name, such as '/gate', until the socket is closed or the process ends.

    Raises:
        NameTakenError: another process has it.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(_address(domain, name))
    except OSError as error:
        claim.close()
        raise NameTakenError(_words(domain, name)) from error
    claim.listen(_QUESTIONS)
    return claim


def check_name(domain: int, name: str) -> None:
    """Raise NameTakenError if a node of this full name runs already."""
    claim_name(domain, name).close()


def _address(domain: int, name: str) -> bytes:
    return b"\0metarl_robot/" + hashlib.sha256(f"{domain} {name}".encode()).hexdigest()[:40].encode()


def _words(domain: int, name: str) -> str:
    holder = _holder(domain, name)
    process = "" if holder is None else f" (process {holder})"
    return (
        f"a node {name} runs already in ROS domain {domain} on this machine{process}: two of them would command one "
        "robot. End that one first, or use another domain: set ROS_DOMAIN_ID to a number from 0 to 101 that nothing "
        "else uses"
    )


def _holder(domain: int, name: str) -> int | None:
    """Process id of a name's holder; None if the kernel does not tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as question, suppress(OSError):
        question.settimeout(_ANSWER_S)
        question.connect(_address(domain, name))
        credentials = question.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])
    return None
