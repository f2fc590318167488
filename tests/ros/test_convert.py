# SPDX-License-Identifier: Apache-2.0
"""Messages and arrays, there and back; no nodes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Context
from metarl_robot.core.tables import Table, table_of
from metarl_robot.ros_nodes.convert import context_table, nanoseconds, table_message, time_message
from metarl_robot.ros_nodes.joint_states import JointOrder, NamesError, effort_of, joint_state, state_of
from metarl_robot.ros_nodes.joint_trajectories import trajectory_arrays, trajectory_message
from metarl_robot.ros_nodes.message_schema import SchemaError, message_definition
from metarl_robot.ros_nodes.reports.payload import payload_message
from metarl_robot.sim.payload import Payload
from metarl_robot.trajectories.flat_outputs import Outputs
from metarl_robot.trajectories.splines import from_points

NAMES = ("a", "b", "c")
FLANGED = SimpleNamespace(description=SimpleNamespace(payload=SimpleNamespace(site="flange")))


def over_the_wire(message: object) -> object:
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 10**9, 1_795_363_062_682_735_987])
def test_stamps_survive_to_the_nanosecond(stamp_ns: int) -> None:
    assert nanoseconds(time_message(stamp_ns)) == stamp_ns


def test_joints_are_found_by_name() -> None:
    rng = np.random.default_rng(0)
    order = JointOrder(NAMES)
    q, v = rng.normal(size=3), rng.normal(size=3)
    for _ in range(20):
        names = list(rng.permutation([*NAMES, "x", "y"]))
        values = {
            name: (q[NAMES.index(name)], v[NAMES.index(name)]) if name in NAMES else (99.0, 99.0) for name in names
        }
        message = JointState(name=names, position=[values[n][0] for n in names], velocity=[values[n][1] for n in names])
        state = state_of(message, order)
        assert np.array_equal(state.q, q) and np.array_equal(state.v, v)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (JointState(name=["a", "b"], position=[0.0, 0.0], velocity=[0.0, 0.0]), "no joint 'c'"),
        (JointState(name=["a", "b", "c", "c"], position=[0.0] * 4, velocity=[0.0] * 4), "named twice"),
        (JointState(name=list(NAMES), position=[0.0] * 2, velocity=[0.0] * 3), "2 values for 3 joints"),
        (JointState(name=list(NAMES), position=[0.0] * 3), "0 values for 3 joints"),
        (JointState(), "no joint 'a'"),
    ],
)
def test_joint_states_that_lack_something_are_refused(message: JointState, why: str) -> None:
    with pytest.raises(NamesError, match=why):
        state_of(message, JointOrder(NAMES))


def test_a_command_comes_back_as_it_was_sent() -> None:
    effort = np.array([1.5, -2.5, 1e-17])
    message = over_the_wire(joint_state(NAMES, 123, effort=effort))
    assert np.array_equal(effort_of(message, JointOrder(NAMES)), effort) and nanoseconds(message.header.stamp) == 123


def test_tables_survive_the_wire() -> None:
    table = Table(12_345_678_901, ("effort",), NAMES, np.array([[1.0, np.pi, -3.0]]))
    got = table_of(over_the_wire(table_message(table)))
    assert isinstance(table_message(table), Float64MultiArray)
    assert got.stamp_ns == table.stamp_ns and got.columns == NAMES and np.array_equal(got.values, table.values)


def test_a_trajectory_survives_the_wire_to_the_bit_in_any_joint_order() -> None:
    rng = np.random.default_rng(1)
    times = np.arange(50) * 0.02
    points = Outputs(*(rng.normal(size=(50, 3)) for _ in range(3)))
    message = over_the_wire(trajectory_message(NAMES, 7_000_000_000, times, points))
    since, (q, v, a) = trajectory_arrays(message, NAMES)
    assert np.array_equal(since, np.arange(50) * 20_000_000)
    assert (
        np.array_equal(q, points.positions)
        and np.array_equal(v, points.velocities)
        and np.array_equal(a, points.accelerations)
    )
    assert np.array_equal(trajectory_arrays(message, ("c", "a", "b"))[1].positions, points.positions[:, [2, 0, 1]])


def test_a_trajectory_without_velocities_is_one() -> None:
    message = trajectory_message(NAMES, 0, np.array([1.0, 2.0]), Outputs(*(np.ones((2, 3)) for _ in range(3))))
    for point in message.points:
        point.velocities = point.accelerations = []
    since, (q, v, a) = trajectory_arrays(message, NAMES)
    assert v is None and a is None and np.allclose(from_points(since * 1e-9, q).sample(np.array([1.5])).q, 1.0)


@pytest.mark.parametrize(
    ("names", "positions", "why"),
    [
        (["a", "b"], [[0.0, 0.0]], "they must be"),
        (["a", "b", "d"], [[0.0] * 3], "they must be"),
        (list(NAMES), [], "no points"),
        (list(NAMES), [[]], "no positions"),
        (list(NAMES), [[0.0] * 3, [0.0] * 2], "point 1 has 2 positions"),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(names: list, positions: list, why: str) -> None:
    message = trajectory_message(names, 0, np.zeros(0), Outputs(*(np.zeros((0, 3)) for _ in range(3))))
    for q in positions:
        rest = np.zeros((1, len(q)))
        message.points += trajectory_message(names, 0, np.zeros(1), Outputs(np.array([q]), rest, rest)).points
    with pytest.raises(SignalError, match=why):
        trajectory_arrays(message, NAMES)
    assert isinstance(message, JointTrajectory)


def test_a_payload_is_reported_about_its_centre_of_mass() -> None:
    payload = Payload(2.0, np.array([0.1, -0.05, 0.2]), np.array([0.01, 0.02, 0.015, 0.001, -0.002, 0.003]))
    parameters = payload.inertial_parameters()
    moments = [f"payload_moment_{axis}_kg_m" for axis in "xyz"]
    inertias = [f"payload_inertia_{axes}_kg_m2" for axes in ("xx", "yy", "zz", "xy", "xz", "yz")]
    context = Context(("payload_mass_kg", *moments, *inertias), parameters, np.ones(10))
    message = payload_message(FLANGED, 5, context)
    assert message is not None and message.header.frame_id == "flange"
    inertia = message.inertia
    assert inertia.m == 2.0 and np.allclose([inertia.com.x, inertia.com.y, inertia.com.z], payload.com_m)
    about_com = [inertia.ixx, inertia.iyy, inertia.izz, inertia.ixy, inertia.ixz, inertia.iyz]
    assert np.allclose(about_com, payload.inertia_kg_m2)
    assert payload_message(FLANGED, 5, Context(("friction",), np.ones(1), np.ones(1))) is None
    assert context_table(5, context).value("payload_mass_kg", "std") == 1.0


def test_message_definitions_contain_what_they_use() -> None:
    text = message_definition("sensor_msgs/msg/JointState")
    assert "float64[] effort" in text and "MSG: std_msgs/Header" in text and "MSG: builtin_interfaces/Time" in text
    with pytest.raises(SchemaError, match="no_such_msgs/msg/Thing"):
        message_definition("no_such_msgs/msg/Thing")
    with pytest.raises(SchemaError, match="not a message type: 'control_msgs/action/FollowJointTrajectory_Feedback'"):
        message_definition("control_msgs/action/FollowJointTrajectory_Feedback")


@pytest.mark.parametrize("stamp_ns", [-1, -(10**30), 2**63, 10**30, (2**31 - 1) * 10**9 + 2**32 - 1])
def test_a_stamp_that_no_message_can_hold_becomes_the_nearest(stamp_ns: int) -> None:
    got = nanoseconds(over_the_wire(joint_state(NAMES, stamp_ns)).header.stamp)
    assert got == min(max(stamp_ns, -(2**31) * 10**9), 2**31 * 10**9 - 1)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_not_finite_is_refused(seconds: float) -> None:
    with pytest.raises(SignalError, match="a time is .*inf|nan"):
        trajectory_message(NAMES, 0, np.array([seconds]), Outputs(np.zeros((1, 3)), None, None))
    assert (
        nanoseconds(
            trajectory_message(NAMES, 0, np.array([1e300]), Outputs(np.zeros((1, 3)), None, None))
            .points[0]
            .time_from_start
        )
        > 0
    )


@pytest.mark.parametrize("names", [["x" * 10**6], [f"joint{k}" for k in range(10**5)], ["a"] * 10**5, ["", "", ""]])
def test_a_refusal_quotes_no_more_names_than_can_be_read(names: list) -> None:
    with pytest.raises(NamesError) as caught:
        state_of(JointState(name=names), JointOrder(NAMES))
    assert len(str(caught.value)) < 1000


def test_a_trajectory_of_many_joints_is_refused_in_a_short_message() -> None:
    """Found by fuzzing: the message held every name, 280 000 characters."""
    message = JointTrajectory(joint_names=["wrong"] * 20_000)
    with pytest.raises(SignalError, match="reference: joints are") as error:
        trajectory_arrays(message, NAMES)
    assert len(str(error.value)) < 1000
