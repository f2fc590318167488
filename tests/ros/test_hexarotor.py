# SPDX-License-Identifier: Apache-2.0
"""A hexarotor over real nodes: it flies, its gate takes six thrusts and stops it, its recording is identified."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from std_msgs.msg import Float64MultiArray
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.core.tables import Table, table_of
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import table_message
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from tests.multirotors import content, folder, multirotor

FLOWN_S = 5.0
ANSWERS = 10
UNLIKE = {"mass_kg": 2.1, "inertia_kg_m2": [0.022, 0.038, 0.045]}
"""Of the description from which the recording is identified."""


class Flight(NamedTuple):
    """A started hexarotor, its description, and the folder of its recording."""

    session: object
    robot: Quadrotor
    bag: Path


@pytest.fixture(scope="module")
def hexa(start: Callable, tmp_path_factory: pytest.TempPathFactory) -> Flight:
    """It follows a random motion with the weights of the quadrotor family."""
    place = tmp_path_factory.mktemp("hexarotor")
    robot, bag = multirotor("hexa", place), place / "bag"
    options = {"lockstep": "true", "reference": "random", "seed": "2", "record": "true", "record_file": str(bag)}
    return Flight(start("quad", robot=str(robot.folder), **options), robot, bag)


def assert_within_limits(hexa: Flight) -> np.ndarray:
    """Thrusts (K, 6) [N] that passed the gate since the last look."""
    commands = list(hexa.session.probe.commands)
    assert {table.columns for table in commands} == {hexa.robot.channel_names} and len(hexa.robot.channel_names) == 6
    thrusts = np.array([table.values[0] for table in commands])
    assert np.all((thrusts >= hexa.robot.effort_lower) & (thrusts <= hexa.robot.effort_limit))
    return thrusts


def test_it_follows_with_six_thrusts_within_the_limits(hexa: Flight) -> None:
    probe = hexa.session.probe
    probe.wait_until(FLOWN_S)
    assert hexa.session.launch.poll() and probe.states[-1]["state"] == "passing"
    assert assert_within_limits(hexa).std(axis=0).min() > 0.05  # N: each rotor takes part
    last = probe.truth[-1]
    assert last.value("violations") == 0.0 and last.value("crashed") == 0.0
    hexa.session.expected.add("recorder")
    recorder = hexa.session.launch.process("recorder").popen
    recorder.send_signal(signal.SIGINT)
    recorder.wait()


def test_four_thrusts_are_refused_and_six_that_are_too_large_are_limited(hexa: Flight) -> None:
    """The mpc node is halted and the test answers some states in its name; then it goes on."""
    probe, robot = hexa.session.probe, hexa.robot
    sources: list[str] = []
    answered: set[int] = set()
    probe.listen(Float64MultiArray, topics.GATE_COMMAND, lambda m: sources.append(table_of(m).source))
    probe.wait(lambda: bool(sources), "a command of the mpc node")
    to_gate = probe.node.create_publisher(Float64MultiArray, topics.GATE_COMMAND, topics.COMMAND)
    probe.wait(lambda: to_gate.get_subscription_count() > 0, "the gate to be found")
    mpc = hexa.session.launch.process("mpc").popen
    mpc.send_signal(signal.SIGSTOP)

    def answer(state: Odometry) -> None:
        stamp_ns = state.header.stamp.sec * 10**9 + state.header.stamp.nanosec
        answered.add(stamp_ns)
        if len(answered) > ANSWERS:  # of full thrust it shall not climb far
            return
        for names in (robot.channel_names[:4], robot.channel_names):
            thrusts = 2.0 * robot.effort_limit[: len(names)]
            to_gate.publish(table_message(Table(stamp_ns, ("effort",), names, thrusts[None], sources[0])))

    probe.clear()
    listening = probe.node.create_subscription(Odometry, OdometryInterface.state_topic, answer, topics.STATE_IN)
    try:
        probe.wait_count("gate", "command_names")
        probe.wait_count("gate", "effort_limited")
    finally:
        mpc.send_signal(signal.SIGCONT)
    probe.node.destroy_subscription(listening)
    probe.node.destroy_publisher(to_gate)
    assert hexa.session.said("they must be ['rotor1', 'rotor2', 'rotor3', 'rotor4', 'rotor5', 'rotor6'], in any order")
    assert_within_limits(hexa)


def test_an_emergency_stop_lands_it_with_all_six_motors_off(hexa: Flight) -> None:
    probe = hexa.session.probe
    probe.clear()
    assert probe.trigger("/gate/estop").success
    probe.wait_state("holding", latched=True)
    probe.wait(lambda: bool(probe.commands) and np.all(probe.commands[-1].values == 0.0), "the motors to stop")
    assert probe.commands[-1].values.shape == (1, 6)
    probe.wait_until(next(table.stamp_s for table in probe.commands if np.all(table.values == 0.0)))
    assert probe.truth[-1].value("position_z_m") < 0.3
    hexa.session.finish()


def test_its_recording_shows_the_inertia_that_its_description_lacks(hexa: Flight) -> None:
    """The bag holds the flight before the emergency stop."""
    place = hexa.bag.parent / "unlike"
    robot, found = folder("hexa", place, **UNLIKE), place / "found.json"
    known = ("--mass", "2.4", "--torque-ratio", "0.016")
    done = CliRunner().invoke(app, ["log", "identify", str(robot), str(hexa.bag), *known, "--json", str(found)])
    assert done.exit_code == 0, done.output
    by_name = {each["name"]: each for each in json.loads(found.read_text(encoding="utf-8"))["parameters"]}
    hidden = dict(zip(("inertia_x", "inertia_y", "inertia_z"), content("hexa")["inertia_kg_m2"], strict=True))
    for name, value in hidden.items():
        each = by_name[name]
        assert abs(each["after"] - value) < 2.0 * each["standard_error"] + 0.002 * value, each
        assert each["standard_error"] < 0.01 * value
