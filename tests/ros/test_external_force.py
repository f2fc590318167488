# SPDX-License-Identifier: Apache-2.0
"""Forces from outside, over ROS: an arm that is pushed says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

import metarl_robot as mr
from metarl_robot.cli.recording import read_run
from metarl_robot.core.tables import table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.sim.kinds import simulation

SEED = 5  # upwards, without a payload
CONTACT = topics.CONTACT_CODES[mr.Contact.CONTACT]


def test_a_push_is_published_as_a_contact_with_its_wrench_and_joint_torques(start: Callable, tmp_path: Path) -> None:
    robot = mr.load_robot("panda")
    scenario = simulation(robot).scenario("contact", "tap", SEED)
    (begin_s, pushed), (end_s, _) = scenario.changes
    bag = tmp_path / "bag"
    suite = {"suite": "contact", "scenario": "tap", "reference": "suite", "seed": str(SEED)}
    session = start(robot="panda", controller="meta_mpc", lockstep="true", record="true", record_file=str(bag), **suite)
    heard: dict[str, list[Any]] = {name: [] for name in ("external_wrench", "external_torque", "contact")}
    for name, kind in (("external_wrench", WrenchStamped), ("external_torque", JointState)):
        session.probe.listen(kind, topics.report(name), heard[name].append)
    session.probe.listen(Float64MultiArray, topics.CONTACT, lambda m: heard["contact"].append(table_of(m)))
    session.probe.wait_until(end_s + 0.5)
    wrenches, torques, contacts = heard.values()
    code = {table.stamp_s: table.value("contact") for table in list(contacts)}
    flagged = min(stamp for stamp, value in code.items() if value == CONTACT)
    assert begin_s < flagged < begin_s + 0.05
    assert code[max(code)] != CONTACT, "released"
    acting = [m for m in list(wrenches) if begin_s + 0.2 < nanoseconds(m.header.stamp) * 1e-9 < end_s]
    size_n = [np.linalg.norm([m.wrench.force.x, m.wrench.force.y, m.wrench.force.z]) for m in acting]
    assert acting[0].header.frame_id == robot.description.payload.site
    assert abs(np.median(size_n) - np.linalg.norm(pushed.push_n)) < 3.0
    assert tuple(torques[0].name) == robot.channel_names
    assert len(torques[0].effort) == 7 and not torques[0].position
    stamps = {nanoseconds(m.header.stamp) for m in list(torques)}
    assert {nanoseconds(m.header.stamp) for m in acting} <= stamps, "each state's stamp"
    session.finish()
    external = read_run(bag).external
    assert external is not None and CONTACT in external.contact
