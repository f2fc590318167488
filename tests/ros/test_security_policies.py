# SPDX-License-Identifier: Apache-2.0
"""The policies of SROS2 in share/security list exactly what each node opens: least privilege, and nothing forgotten.

Real nodes in the graph, without DDS security: the wheels' Fast DDS is built without it, so that nothing here shows that
a policy is enforced. That a secured start fails there, rather than run unsecured, is tested.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest
import rclpy

from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes import security_policy
from metarl_robot.ros_nodes.security_policy import Opened, opened, policy, read_policy, settled
from metarl_robot.safety.gate import GateState
from tests.ros.allowed import SHARE, difference, written
from tests.ros.conftest import free_domain

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
MEASURED = {"payload_sharer"}
"""Processes of the launch files whose policy is written by the command, for the driver that they run with."""
ELSEWHERE = {"shadow", "mpc_with_gate", "drive_bridge", "driver"}
"""Processes of options, compared where these are tested: test_shadow, test_gate_inside, test_drive_bridge."""
BRIDGES = {
    "mavlink_bridge": {"url": "udpin:127.0.0.1:24540"},
    "crazyflie_bridge": {"url": "udp://127.0.0.1:24541", "pose_topic": "mocap/pose"},
    "crazyswarm_bridge": {"crazyflie": "cf231"},
    "betaflight_bridge": {"url": "tcp://127.0.0.1:24542"},
}


def test_a_policy_survives_writing_and_reading() -> None:
    gate = Opened(*(frozenset({name}) for name in ("a/b", "/clock", "d", "e", "f", "g")))
    mpc = Opened(call=frozenset({"g"}))
    for processes in ({"gate": {"gate": gate}}, {"mpc_with_gate": {"gate": gate, "mpc": mpc}}):
        assert read_policy(policy(processes)) == processes


def test_every_process_of_the_launch_files_has_an_enclave_and_a_policy() -> None:
    texts = [path.read_text(encoding="utf-8") for path in LAUNCH.glob("*.launch.yaml")]
    enclaves = {name for text in texts for name in re.findall(r"\$\(env METARL_ENCLAVES /metarl\)/(\w+)\}", text)}
    assert sum(text.count("ROS_SECURITY_ENCLAVE_OVERRIDE") for text in texts) == sum(
        len(re.findall(r"^ +exec: ", text, re.MULTILINE)) for text in texts
    )
    with_policy = {process for path in SHARE.glob("*.policy.xml") for process in read_policy(path.read_text())}
    assert enclaves - MEASURED == with_policy - {"operator"}


@pytest.mark.parametrize("kind", ["arm", "quad", "ground"])
def test_in_one_process_mpc_and_gate_open_only_what_they_open_apart(kind: str) -> None:
    """But for what passes between their threads. The gate's is also compared in test_gate_inside."""
    allowed = written(kind)
    for node in ("gate", "mpc"):
        together, apart = allowed["mpc_with_gate"][node], allowed[node][node]
        assert together._replace(subscribe=apart.subscribe) == apart
        assert together.subscribe < apart.subscribe and not together.subscribe & {"gate/command", "gate/state"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arm", "quad", "ground"])
def test_the_nodes_of_a_launch_open_exactly_what_their_policy_allows(
    start: Callable, kind: str, tmp_path: Path
) -> None:
    arguments = {"record": "true", "record_file": str(tmp_path / "recording"), "scene": "true", "view": "true"}
    session = start(kind, reference="poses" if kind == "arm" else "circle", **arguments)
    passing = GateState.PASSING.value
    session.probe.wait(lambda: any(each["state"] == passing for each in session.probe.states), "commands that pass")
    allowed = written(kind)
    for process in allowed.keys() - ELSEWHERE:
        for node, names in allowed[process].items():
            have = settled(session.probe.node, node, lambda: sleep(0.05))
            if process == "recorder":  # it subscribes to what is published when it looks
                assert have.subscribe <= names.subscribe
                have = have._replace(subscribe=names.subscribe)
            assert have == names, f"{node}: {difference(have, names)}"
    session.launch.stop()


@pytest.mark.slow
def test_bridges_open_exactly_what_their_policy_allows() -> None:
    domain = free_domain()
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    context = rclpy.Context()
    context.init(domain_id=domain)
    observer = rclpy.create_node("observer", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(observer)
    processes = []
    try:
        for name, parameters in BRIDGES.items():
            robot = "crazyflie" if name.startswith("crazy") else "x500"
            given = [part for each in {"robot": robot, **parameters}.items() for part in ("-p", ":=".join(each))]
            command = [sys.executable, "-m", f"metarl_robot.ros_nodes.bridges.{name}", "--ros-args", *given]
            processes.append(subprocess.Popen(command, env=environment))
        for name in BRIDGES:
            if name == "crazyflie_bridge":
                pytest.importorskip("cflib", reason="needs the extra [crazyflie]")
            end_s, names = monotonic() + 60.0, written("autopilot")[name][name]
            while (have := opened_or_none(observer, name)) != names and monotonic() < end_s:
                executor.spin_once(0.1)
            assert have == names, f"{name}: {difference(have, names)}"
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        executor.shutdown()
        observer.destroy_node()
        context.try_shutdown()


def opened_or_none(observer: rclpy.node.Node, name: str) -> Opened:
    is_there = (name, "/") in observer.get_node_names_and_namespaces()
    return opened(observer, name) if is_there else Opened()


def test_a_missing_node_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security_policy, "LOOK_S", 0.2)
    context = rclpy.Context()
    context.init(domain_id=free_domain())
    observer = rclpy.create_node("observer", context=context)
    try:
        with pytest.raises(MetaRLError, match="no node 'gate' in namespace '/'; there are: observer"):
            settled(observer, "gate", lambda: sleep(0.05))
    finally:
        observer.destroy_node()
        context.try_shutdown()


def test_a_secured_start_never_runs_unsecured(tmp_path: Path) -> None:
    """Asked to enforce security, a node does not start without it: here for want of a keystore."""
    environment = {
        **os.environ, "ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(tmp_path), "ROS_SECURITY_ENCLAVE_OVERRIDE": "/metarl/gate",
    }  # fmt: skip
    command = [sys.executable, "-m", "metarl_robot.ros_nodes.gate"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode != 0 and "/metarl/gate" in ended.stdout + ended.stderr
