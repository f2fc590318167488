# SPDX-License-Identifier: Apache-2.0
"""A real Ray cluster of several nodes gives the results of this process, also when a node is killed under load."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import pytest

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.parallel import ray_cluster as module
from metarl_robot.parallel.environment import environment
from metarl_robot.parallel.local_cluster import private_environment
from metarl_robot.parallel.processes import Processes
from metarl_robot.parallel.ray_cluster import ClusterError, RayCluster, ray_cluster
from metarl_robot.sim import dataset
from metarl_robot.sim.episode_scores import EpisodeResult
from metarl_robot.sim.evaluate import Evaluation, evaluate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]: pip install 'metarl_robot[ray]'"),
]  # Ray is imported by the fixture: it reads its environment when it is imported

PLANAR = load_robot("planar2")
_STORE = 80 * 2**20


class Nodes(NamedTuple):
    """A cluster; its head has no processors, so that all work is on the two workers. doomed: one of these."""

    cluster: Any
    engine: RayCluster
    doomed: Any


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with environment(private_environment()):
        from ray.cluster_utils import Cluster

        settings = {"node_ip_address": "127.0.0.1", "object_store_memory": _STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={**settings, "num_cpus": 0})
        try:
            first, _ = cluster.add_node(**settings, num_cpus=1), cluster.add_node(**settings, num_cpus=1)
            with ray_cluster(cluster.address) as engine:
                yield Nodes(cluster, engine, first)
        finally:
            cluster.shutdown()


def untimed(evaluation: Evaluation) -> list[EpisodeResult]:
    return [replace(episode, step_ms_median=0.0, step_ms_p99=0.0) for episode in evaluation.episodes]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "metarl_robot", *words]


def test_simulated_tasks_are_those_of_this_process(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_BLOCK", 8)
    done: list[int] = []
    expected = dataset.collect(PLANAR, 20, 1000, duration_s=0.2)
    found = dataset.collect(PLANAR, 20, 1000, duration_s=0.2, progress=lambda n, _: done.append(n), engine=nodes.engine)
    assert found.sha256() == expected.sha256()
    assert done == sorted(done) and done[-1] == 20 and len(done) == 3


def test_a_policy_is_that_of_this_process(nodes: Nodes, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra [train]")
    from metarl_robot.learning.policies.config import PolicyConfig
    from metarl_robot.learning.policies.family import load_family
    from metarl_robot.learning.policies.run import train

    family = load_family("point-navigation")
    config = PolicyConfig(iterations=2, tasks=5, episodes=3, hidden=(8,), groups=2, seed=1000)
    expected = train(family, config, tmp_path / "here")
    found = train(family, config, tmp_path / "there", engine=nodes.engine)
    assert found.curve.read_bytes() == expected.curve.read_bytes()
    assert found.checkpoint.record.sha256 == expected.checkpoint.record.sha256
    assert found.checkpoint.meta["scores"] == expected.checkpoint.meta["scores"]


def test_an_error_of_the_work_is_raised_as_here(nodes: Nodes) -> None:
    def refuse(name: str) -> None:
        raise UnknownNameError("thing", name, ("right",))

    for engine in (nodes.engine, Processes()):
        with pytest.raises(UnknownNameError, match=r"^unknown thing 'wrong'\. Valid: right\.$"):
            list(engine.run_all(refuse, ["wrong"]))


def test_a_worker_with_other_sources_is_refused(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "source_hash", lambda: "other")
    with pytest.raises(ClusterError, match="has other sources of metarl_robot than this machine"):
        list(nodes.engine.run_all(abs, [-1]))


def test_the_command_line_gives_the_same_and_ctrl_c_ends_it(nodes: Nodes) -> None:
    words = ("eval", "planar2", "--controllers", "pid", "--suite", "nominal", "--first-seed", "1000")
    there = (*words, "--json", "-", "--ray", nodes.cluster.address)
    done = subprocess.run(command(*there, "--seeds", "1"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = evaluate(PLANAR, "nominal", ["pid"], [1000]).to_json()["episodes"]
    times = ("step_ms_median", "step_ms_p99")
    found = json.loads(done.stdout)["episodes"]
    assert [{**row, **dict.fromkeys(times)} for row in found] == [{**row, **dict.fromkeys(times)} for row in expected]

    with subprocess.Popen(command(*there, "--seeds", "1000"), stderr=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stderr is not None
        begun = run.stderr.readline()
        run.send_signal(signal.SIGINT)
        _, rest = run.communicate()
    assert b"episodes: 0/1000" in begun
    assert run.returncode == 130, rest
    assert b"Traceback" not in rest
    assert list(nodes.engine.run_all(abs, [-1])) == [(0, 1)], "the cluster serves others"


def test_a_cluster_refuses_those_without_its_token(nodes: Nodes) -> None:
    words = command("eval", "planar2", "--controllers", "pid", "--seeds", "1", "--ray", nodes.cluster.address)
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(words, env=quiet, capture_output=True, text=True, check=False)
    said = " ".join(done.stderr.split())
    assert done.returncode == 1, said
    assert f"no cluster can be used at '{nodes.cluster.address}'" in said
    assert "token" in said and "Traceback" not in said


class Stuck:
    """An engine on which items never end on one node; it notes the node of each start."""

    def __init__(self, engine: RayCluster, node: str, starts: Path) -> None:
        self._engine, self._node, self._starts = engine, node, starts

    def run_all(self, do: Callable[[Any], Any], work: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        bad, starts = self._node, str(self._starts)

        def noted(item: tuple[int, Any]) -> Any:
            import os
            import time

            import ray

            node = ray.get_runtime_context().get_node_id()
            handle = os.open(starts, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, f"{item[0]} {node}\n".encode())
            os.close(handle)
            while node == bad:
                time.sleep(1.0)
            return do(item[1])

        return self._engine.run_all(noted, list(enumerate(work)))


def test_a_node_killed_under_load_costs_no_result(nodes: Nodes, tmp_path: Path) -> None:
    starts, node = tmp_path / "starts", nodes.doomed.node_id

    def kill() -> None:
        while not (starts.is_file() and node in starts.read_text()):
            sleep(0.05)
        nodes.cluster.remove_node(nodes.doomed, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    seeds, controllers = [1000, 1001], ["pid", "computed_torque"]
    found = evaluate(PLANAR, "nominal", controllers, seeds, engine=Stuck(nodes.engine, node, starts))
    killer.join()
    assert untimed(found) == untimed(evaluate(PLANAR, "nominal", controllers, seeds))
    lines = [line.split() for line in starts.read_text().splitlines()]
    lost = {index for index, where in lines if where == node}
    assert lost, "nothing ran on the node that was killed"
    assert lost <= {index for index, where in lines if where != node}


PRIVATE = """
import os, sys
from pathlib import Path
from metarl_robot.parallel import local_cluster
from metarl_robot.parallel.ray_cluster import ray_cluster

local_cluster._FOUND = Path("/nowhere")  # no cluster of other tests

def listening():
    "Local addresses of all sockets on which processes of this session listen."
    ours = [p for p in Path("/proc").glob("[0-9]*") if p.name == str(os.getpid()) or is_ours(p)]
    inodes = {os.readlink(f)[8:-1] for p in ours for f in sockets(p)}
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            word = line.split()
            if word[3] == "0A" and word[9] in inodes:
                yield word[1].rpartition(":")[0]

def is_ours(process):
    try:
        return b"RAY_AUTH_TOKEN=" + os.environ["RAY_AUTH_TOKEN"].encode() in (process / "environ").read_bytes()
    except OSError:
        return False

def sockets(process):
    try:
        return [f for f in (process / "fd").iterdir() if os.readlink(f).startswith("socket:")]
    except OSError:
        return []

with ray_cluster("auto") as engine:
    assert dict(engine.run_all(abs, [-1, -2, -3])) == {0: 1, 1: 2, 2: 3}
    print(*listening())
    print(os.environ["RAY_USAGE_STATS_ENABLED"])
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_a_cluster_of_this_machine_listens_to_it_alone_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("metarl_ray_*"))
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PRIVATE],
        env={**quiet, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    addresses, usage = done.stdout.splitlines()
    assert len(addresses.split()) >= 3  # of the head, the raylet and a worker
    assert set(addresses.split()) <= LOOPBACK
    assert usage == "0"
    assert list(tmp_path.iterdir()) == []
    assert set(Path("/tmp").glob("metarl_ray_*")) <= before


@pytest.mark.parametrize("address", ["", "nowhere", "ray://host:1", "host:", "host:0", "host:65536", "host:6379x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(MetaRLError, match=r"is not an address; allowed: auto, or HOST:PORT") as caught:
        ray_cluster(address).__enter__()
    assert caught.value.bad_input


def test_an_address_where_nothing_answers_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"no cluster can be used at '{address}' .*ray start --head"):
        ray_cluster(address).__enter__()
