# SPDX-License-Identifier: Apache-2.0
"""Priorities that a node's process asks the system for; each in a process and a session of its own, as a launch starts
it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from metarl_robot.cli.launch_process import node_environment

_LOOK = """
import json, os, subprocess, sys, threading
from pathlib import Path
from metarl_robot.ros_nodes.runtime import prefer_process
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
prefer_process(5, int(sys.argv[1]))
child = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]
child = subprocess.run(child, capture_output=True, text=True).stdout
group = Path("/proc/self/autogroup")
priority = os.sched_getparam(0).sched_priority
print(json.dumps({"policy": os.sched_getscheduler(0), "priority": priority, "child": int(child),
    "locked_kb": int(Path("/proc/self/status").read_text().partition("VmLck:")[2].split()[0]),
    "awake": "/dev/cpu_dma_latency" in [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")],
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "group": group.read_text() if group.is_file() else ""}))
"""
_FIFO, _OTHER, _RESET = 1, 0, 0x40000000  # sched.h


def look(realtime_priority: int) -> dict[str, object]:
    command = [sys.executable, "-c", _LOOK, str(realtime_priority)]
    done = subprocess.run(
        command, env=node_environment(), capture_output=True, text=True, check=True, start_new_session=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_niceness_is_the_processs_and_its_sessions() -> None:
    seen = look(0)
    assert (seen["policy"], seen["nice"]) == (_OTHER, 5)
    assert not seen["group"] or str(seen["group"]).split()[-1] == "5"


def test_a_real_time_priority_is_asked_for_and_not_inherited() -> None:
    seen = look(20)
    if seen["policy"] == _OTHER:
        pytest.skip("this user may not ask for real-time priorities")
    assert (seen["policy"], seen["priority"]) == (_FIFO | _RESET, 20)
    assert seen["child"] == _OTHER
    assert seen["nice"] == 5


def test_processors_stay_awake_for_a_real_time_process_alone() -> None:
    if not os.access("/dev/cpu_dma_latency", os.W_OK):
        pytest.skip("this user may not keep processors awake")
    assert look(20)["awake"] and not look(0)["awake"]


def test_a_real_time_process_alone_keeps_its_memory() -> None:
    seen = look(20)
    if not seen["locked_kb"] and os.geteuid() != 0:
        pytest.skip("this user may not lock memory")
    assert int(str(seen["locked_kb"])) > 10_000 and look(0)["locked_kb"] == 0


_SPIN = """
import os
from metarl_robot.ros_nodes import realtime_limit
from metarl_robot.ros_nodes.runtime import prefer_process
realtime_limit.LEAVE_S = 1
prefer_process(0, 20)
print(os.sched_getscheduler(0))
while os.sched_getscheduler(0) != os.SCHED_OTHER:
    pass
"""


def test_a_real_time_process_that_never_pauses_loses_its_priority() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SPIN], env=node_environment(), capture_output=True, text=True, timeout=120
    )
    if done.stdout.strip() == str(_OTHER):
        pytest.skip("this user may not ask for real-time priorities")
    assert done.returncode == 0 and "at real-time priority without a pause" in done.stderr
