# SPDX-License-Identifier: Apache-2.0
"""Faults between real processes, as `metarl faults --processes` runs them. Ages and rates are times
of this machine, which may be busy: they are the campaign's, not these tests', to judge."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from metarl_robot.cli.fault_processes import run_process_fault
from metarl_robot.core.robot import load_robot


@pytest.mark.real_time
@pytest.mark.parametrize(("name", "kind"), [("panda", "garbage"), ("x500", "kill_recorder")])
def test_nothing_ends_that_was_not_killed_and_the_recording_can_be_read(name: str, kind: str) -> None:
    row = run_process_fault(load_robot(name), kind, 0)
    assert row.ended == ()
    assert row.reached.not_finite == 0 and row.reached.effort_ratio <= 1.0 + 1e-6
