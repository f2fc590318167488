# SPDX-License-Identifier: Apache-2.0
"""A node's process by itself: messages of a wrong start, and the end of a good one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.ros_nodes.unique_name import claim_name


def run(node: str, *parameters: str) -> subprocess.CompletedProcess[str]:
    words = [word for parameter in parameters for word in ("-p", parameter)]
    command = [sys.executable, "-m", f"metarl_robot.ros_nodes.{node}", "--ros-args", *words]
    return subprocess.run(command, capture_output=True, text=True, env=node_environment())


@pytest.mark.parametrize(
    ("node", "parameters", "why"),
    [
        ("gate", ("robot:=pandda",), "unknown robot 'pandda'. Did you mean 'panda'?"),
        ("gate", ("robot:=planar2", "command_timeout_s:=9.0"), "parameter 'command_timeout_s'"),
        ("gate", ("robot:=planar2", "hold_stiffness_nm_rad:=[1.0,2.0,3.0]"), "planar2 needs none, one or 2"),
        ("mpc", ("robot:=planar2", "controller:=mcp"), "unknown controller 'mcp'"),
        ("mpc", ("robot:=planar2", "controller:=oracle_mpc"), "unknown controller 'oracle_mpc'"),
        (
            "mpc",
            ("robot:=planar2", "controller:=pid", "controller_config.kp:=-5.0"),
            "parameter 'controller_config.kp'",
        ),
        ("plant", ("robot:=planar2", "task.suite:=heldup"), "unknown suite 'heldup'. Did you mean 'heldout'?"),
        ("plant", ("robot:=planar2", "task.task_file:=/nowhere.yaml"), "task file /nowhere.yaml"),
        (
            "gate",
            ("robot:=planar2", "robot_kind:=quadrotor"),
            "'planar2' is of kind 'arm'; given where 'quadrotor' is needed",
        ),
        ("reference", ("robot:=planar2", "robot_kind:=quadrotor"), "'planar2' is of kind 'arm'"),
        ("bridges.payload_sharer", ("robot:=planar2",), "effort_includes_gravity is true; must be false"),
        ("reference", ("robot:=planar2", "kind:=dance"), "Valid: excitation, hold, suite, tracking"),
    ],
)
def test_a_wrong_start_ends_with_an_error_that_says_why(node: str, parameters: tuple[str, ...], why: str) -> None:
    result = run(node, *parameters)
    assert result.returncode == 1 and why in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_second_node_of_a_name_is_refused_with_the_remedy() -> None:
    with claim_name(int(os.environ["ROS_DOMAIN_ID"]), "/gate"):  # as a gate that runs does
        result = run("gate", "robot:=planar2")
    assert result.returncode == 1 and "Traceback" not in result.stdout + result.stderr
    assert "a node /gate runs already in ROS domain" in result.stderr and "ROS_DOMAIN_ID" in result.stderr
    assert "configured" not in result.stdout + result.stderr


ENDS = """
import sys
from pathlib import Path
from metarl_robot.ros_nodes import reference
code = reference.main()
print("left:", *(file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")))
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_cleanly_and_the_middleware_has_let_go_of_it(number: signal.Signals) -> None:
    command = [sys.executable, "-c", ENDS, "--ros-args", "-p", "robot:=planar2"]
    environment = {**node_environment(), "ROS_DOMAIN_ID": os.environ["ROS_DOMAIN_ID"]}
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        last = line
        if "activated" in line:
            process.send_signal(number)
    assert process.wait(60) == 0
    left = last.removeprefix("left:").split()
    # Fast DDS's own, of no participant
    assert left and not {name for name in left if name.startswith("dds.")} - {"dds.shm.wdog"}
