# SPDX-License-Identifier: Apache-2.0
"""A Ray cluster of this machine alone: reachable from this machine only, with a password, and nothing reported.

Ray listens on all network interfaces unless it takes 127.0.0.1 for the machine's address; whoever can reach it can run
code as its user. A cluster started here listens on 127.0.0.1 and requires a random token, which only processes of this
run know. Ray's usage reports and its dashboard are off.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from metarl_robot.core.errors import MetaRLError

QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Environment of every use of Ray."""
_STORE_BYTES = 200 * 2**20
_FOUND = Path("/tmp/ray/ray_current_cluster")  # written by `ray start --head`


def running_cluster() -> str | None:
    """Address of a cluster that this user has started on this machine and that still listens; None: there is none."""
    try:
        if _FOUND.stat().st_uid != os.getuid():
            return None
        address = _FOUND.read_text(encoding="utf-8").strip()
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except (OSError, ValueError):
        return None
    return address


@cache
def private_environment() -> Mapping[str, str]:
    """Environment of clusters that no other machine or user can use. Ray reads it once, when it is imported."""
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray then takes 127.0.0.1 for the machine's address
    return {**QUIET, **loopback, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def local_cluster(start: Callable[..., None]) -> Iterator[None]:
    """Start a cluster of the processors that this process may use; end it with all that it wrote.

    Arguments:
        start: ray.init, with its errors converted.
    """
    import ray

    folder = mkdtemp(prefix="metarl_ray_", dir="/tmp")  # short: it holds sockets, whose paths are limited
    processors = len(os.sched_getaffinity(0))
    try:
        start(
            address="local",
            num_cpus=processors,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            _temp_dir=folder,
        )
        _check_private(ray.get_runtime_context().gcs_address)
        yield
    finally:
        ray.shutdown()
        rmtree(folder, ignore_errors=True)


def _check_private(address: Any) -> None:
    """Raise an error if other machines could reach the cluster."""
    if not str(address).startswith("127.0.0.1:"):
        raise MetaRLError(
            f"Ray was imported before this run and would listen at {address}; allowed here: 127.0.0.1. Start a cluster "
            "with `ray start --head` and give its address"
        )
