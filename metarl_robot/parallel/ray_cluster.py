# SPDX-License-Identifier: Apache-2.0
"""The engine beyond one machine: work items as tasks of a Ray cluster.

An item takes one processor. Ray computes it again if its worker or machine is lost, also where the result was ready but
not yet fetched. A result does not depend on where it is computed, so that a loss costs time only. The program itself
runs on a machine of the cluster, whose loss ends the run. Every machine needs the same sources of this package, and
the same files (robots, checkpoints) at the same paths.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from metarl_robot.core.errors import MetaRLError, MissingPackageError, one_line, shown
from metarl_robot.parallel.engine import Job, Result
from metarl_robot.parallel.environment import environment
from metarl_robot.parallel.local_cluster import QUIET, local_cluster, private_environment, running_cluster
from metarl_robot.parallel.source_hash import source_hash

AUTO = "auto"
RETRIES = 10
"""How often an item is computed again whose worker or machine was lost."""

_ANSWER_S, _PROBE_S = 5.0, 60.0
_PROBE = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1])
except BaseException as error:
    sys.exit(print(error) or 1)
"""
_WAIT_S = 1.0  # between looks at the cluster
_NO_PROCESSOR_S = 60.0
_AHEAD = 2  # items submitted for each processor: bounds the memory of results


class ClusterError(MetaRLError):
    """A Ray cluster cannot be reached, or cannot do the work."""

    bad_input = False


@contextmanager
def ray_cluster(address: str) -> Iterator[RayCluster]:
    """Connect to a cluster; leaving it at the end gives up what still runs.

    Arguments:
        address: HOST:PORT of the cluster's head; or `auto`: the cluster of $RAY_ADDRESS, else one that this user has
            started on this machine, else a new one of this machine's processors for the duration of the block.

    Raises:
        MissingPackageError: Ray is not installed.
        MetaRLError: the address is malformed.
        ClusterError: no cluster answers at the address, or this machine does not belong to it.
    """
    given = os.environ.get("RAY_ADDRESS") or running_cluster() if address == AUTO else address
    with environment(private_environment() if given is None else QUIET):
        _check_installed()
        with local_cluster(_start) if given is None else _joined(given):
            yield RayCluster()


class RayCluster:
    """See metarl_robot.parallel.engine.Engine; made by `ray_cluster`.

    Items that run when an iterator is closed go on until they end, or until this process leaves the cluster. They are
    not cancelled: in Ray 2.60 a forced cancellation ends the whole process if the item ends at the same moment.
    """

    def run_all(self, do: Callable[[Job], Result], work: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        import ray

        call = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
        left, processors = iter(enumerate(work)), _Processors()
        running: dict[Any, int] = {}
        while True:
            for _ in range(max(1, _AHEAD * processors.count()) - len(running)):
                index, job = next(left, (None, None))
                if index is None:
                    break
                running[call.remote(source_hash(), do, job)] = index
            if not running:
                return
            for done in ray.wait(list(running), timeout=_WAIT_S)[0]:
                result = _fetched(done)
                yield running.pop(done), result


def _call(expected: str, do: Callable[[Job], Result], job: Job) -> Result:
    """Compute one item on a worker."""
    if source_hash() != expected:
        raise ClusterError(
            f"{socket.gethostname()} has other sources of metarl_robot than this machine; install the same on both"
        )
    return do(job)


def _fetched(item: Any) -> Any:
    """The result of a finished item; an error of the work is raised as on one machine."""
    import ray
    from ray import exceptions

    try:
        return ray.get(item)
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ImportError) or "failed to import" in str(cause):
            raise ClusterError(
                f"a worker lacks code that this run needs ({one_line(cause)}); install the same packages on every "
                "machine"
            ) from None
        raise cause from (None if isinstance(cause, MetaRLError) else error)
    except exceptions.RayError as error:
        raise ClusterError(
            f"the cluster lost the same piece of work {RETRIES + 1} times, or its head ({one_line(error)}); see the "
            "logs of Ray in its session folder, and the memory of the workers"
        ) from None


class _Processors:
    """Counts the cluster's processors, at most once a second."""

    def __init__(self) -> None:
        self._count, self._next, self._last = 0, 0.0, monotonic()

    def count(self) -> int:
        """Processors now. Raises ClusterError if there have been none for a while."""
        import ray

        now = monotonic()
        if now >= self._next:
            self._count, self._next = int(ray.cluster_resources().get("CPU", 0)), now + _WAIT_S
        if self._count:
            self._last = now
        elif now - self._last > _NO_PROCESSOR_S:
            raise ClusterError(
                f"the cluster has had no processor for {_NO_PROCESSOR_S:g} s; start workers with: "
                "ray start --address=HOST:PORT"
            )
        return self._count


def _check_installed() -> None:
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingPackageError("ray", "pip install 'metarl_robot[ray]'") from None


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    _check_answer(address)
    _start(address=address)
    try:
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Raise an error unless a cluster answers at the address, and takes this user's token if it needs one.

    Ray's own start would wait for minutes, or without end. It is therefore asked in another process first.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise MetaRLError(f"--ray: {shown(address)} is not an address; allowed: auto, or HOST:PORT of a cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
        probe = [sys.executable, "-c", _PROBE, address]
        asked = subprocess.run(probe, capture_output=True, text=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_answer(address, error) from None
    if asked.returncode:
        raise _no_answer(address, RuntimeError(asked.stdout or asked.stderr))


def _start(**settings: Any) -> None:
    """Start or join a cluster. Raises ClusterError."""
    import ray

    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **settings)
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        ray.shutdown()
        raise _no_answer(settings.get("address", AUTO), error) from None


def _no_answer(address: str, error: BaseException) -> ClusterError:
    return ClusterError(
        f"--ray: no cluster can be used at {shown(address)} ({one_line(error)}); start one with: ray start --head, "
        "run this on one of its machines, and give its token, if it has one, with RAY_AUTH_MODE=token"
    )
