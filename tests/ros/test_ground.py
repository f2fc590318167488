# SPDX-License-Identifier: Apache-2.0
"""ROS messages of a ground vehicle, and `ground.launch.yaml` over real nodes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path as File

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64MultiArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Plan, State
from metarl_robot.core.tables import Table, table_of
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.obstacles import Obstacles, clearance
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, table_message, time_message
from metarl_robot.ros_nodes.ground.interface import GroundInterface
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.odometry import IMU
from metarl_robot.safety.refusals import Rejection
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.flat_outputs import Outputs
from metarl_robot.trajectories.reference_manager import ReferenceManager

ROBOT = load_robot("f1tenth")
Q, V = np.array([1.0, -2.0, 0.7]), np.array([3.0, 1.5, -0.4])


class Road:
    """Odometry of a vehicle as its interface hears it."""

    def __init__(self) -> None:
        self.interface = GroundInterface(ROBOT)
        self.states: list[tuple[int, Callable[[], State]]] = []
        self._take: Callable = print
        self.interface.listen(self, lambda *heard: self.states.append(heard), lockstep=False)

    def get_clock(self) -> None:
        return

    def create_subscription(self, kind: type, topic: str, take: Callable, quality: object) -> None:
        assert (kind, topic) == (Odometry, "odom")
        self._take = take

    def hear(self, message: Odometry) -> State:
        self._take(deserialize_message(serialize_message(message), Odometry))
        return self.states[-1][1]()

    def path(self, points: np.ndarray, frame: str = "odom", period_s: float = 0.0) -> object:
        read = self.interface.references()[1][2]
        return read(path_message(points, frame, period_s))


def path_message(points: np.ndarray, frame: str = "odom", period_s: float = 0.0) -> Path:
    message = Path()
    message.header.frame_id = frame
    for k, (x, y) in enumerate(points):
        pose = PoseStamped()
        pose.header.stamp = time_message(10**9 + round(k * period_s * 1e9))
        pose.pose.position.x, pose.pose.position.y, pose.pose.orientation.w = float(x), float(y), 1.0
        message.poses.append(pose)
    return message


def odometry(q: np.ndarray = Q, v: np.ndarray = V) -> Odometry:
    return GroundInterface(ROBOT).setpoint(7, q, v)


def test_the_interface_is_loaded_by_name() -> None:
    assert isinstance(interface_of(ROBOT), GroundInterface)


def test_odometry_is_read_as_a_pose_on_the_plane_with_velocities_in_the_world() -> None:
    message = odometry()
    forward = np.cos(Q[2]) * V[0] + np.sin(Q[2]) * V[1]
    assert message.twist.twist.linear.x == pytest.approx(forward)  # the twist of a message is in the child's frame
    state = Road().hear(message)
    np.testing.assert_allclose(state.q, Q, atol=1e-12)
    np.testing.assert_allclose(state.v, V, atol=1e-12)


def test_a_vehicle_on_a_slope_keeps_its_heading() -> None:
    turned = rotation.multiply(rotation.from_yaw(Q[2]), np.array([np.cos(0.17), 0.0, np.sin(0.17), 0.0]))
    message, o = odometry(), odometry().pose.pose.orientation
    o.w, o.x, o.y, o.z = (float(part) for part in turned)
    message.pose.pose.orientation = o
    assert Road().hear(message).q[2] == pytest.approx(Q[2])


def test_the_yaw_goes_on_beyond_half_a_turn_in_both_directions() -> None:
    for sign in (1.0, -1.0):
        road, yaws = Road(), sign * np.arange(0.0, 20.0, 0.5)
        heard = [road.hear(odometry(np.array([0.0, 0.0, yaw]))).q[2] for yaw in yaws]
        np.testing.assert_allclose(heard, yaws, atol=1e-9)


def _alter(path: str, value: object) -> Callable[[Odometry], None]:
    *parts, last = path.split(".")

    def alter(message: Odometry) -> None:
        place = message
        for part in parts:
            place = getattr(place, part)
        setattr(place, last, value)

    return alter


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("header.frame_id", "map", Rejection.FRAME),
        ("child_frame_id", "odom", Rejection.FRAME),
        ("pose.pose.orientation.w", 2.0, Rejection.NOT_NORMALISED),
        ("pose.pose.orientation.w", float("nan"), Rejection.NOT_FINITE),
        ("pose.pose.position.x", float("inf"), Rejection.NOT_FINITE),
        ("twist.twist.linear.y", float("nan"), Rejection.NOT_FINITE),
        ("pose.pose.position.y", 1e9, Rejection.IMPLAUSIBLE),
    ],
)
def test_odometry_that_cannot_be_used_is_refused_and_the_next_one_is_read(
    path: str, value: object, why: Rejection
) -> None:
    road, message = Road(), odometry()
    _alter(path, value)(message)
    with pytest.raises(UnusableError) as refused:
        road.hear(message)
    assert refused.value.why is why
    np.testing.assert_allclose(road.hear(odometry()).q, Q, atol=1e-12)


@pytest.mark.parametrize(("w", "x"), [(0.0, 0.0), (0.0, 1.0)])
def test_a_quaternion_that_is_not_set_or_upside_down_is_refused(w: float, x: float) -> None:
    message = odometry()
    turned = message.pose.pose.orientation
    turned.w, turned.x, turned.y, turned.z = w, x, 0.0, 0.0
    with pytest.raises(UnusableError) as refused:
        Road().hear(message)
    assert refused.value.why is (Rejection.FRAME if x else Rejection.NOT_NORMALISED)


def test_commands_carry_steering_and_drive_by_name() -> None:
    interface = GroundInterface(ROBOT)
    message = interface.gate_command(7, np.array([0.1, 0.5]))
    assert table_of(message).columns == ("steering", "drive")
    np.testing.assert_array_equal(interface.read_gate_command(message).read(), [0.1, 0.5])
    message.layout.dim[1].label = message.layout.dim[1].label.replace("drive", "gas")
    with pytest.raises(UnusableError, match="columns are"):
        interface.read_gate_command(message).read()


def test_a_path_without_times_is_driven_from_the_present_speed_to_rest() -> None:
    road, yaw = Road(), 2.0 * np.pi  # one lap driven
    for turned in np.linspace(0.0, yaw, 9):
        road.hear(odometry(np.array([0.0, 0.0, turned]), np.array([2.0, 0.0, 0.0])))
    read = road.path(np.column_stack([np.linspace(0.0, 10.0, 21), np.zeros(21)]))
    assert read.begin_ns == 0 and read.since_ns[0] == 0 and np.all(np.diff(read.since_ns) > 0)
    q, v = read.points.positions, read.points.velocities
    np.testing.assert_allclose(q[[0, -1]], [[0.0, 0.0, yaw], [10.0, 0.0, yaw]], atol=1e-6)
    assert v[0, 0] == pytest.approx(2.0) and 4.0 < v[:, 0].max() <= ROBOT.velocity_limit[0]
    assert abs(v[-1, 0]) < 0.1


def test_a_path_whose_stamps_advance_keeps_its_times_and_its_yaw_goes_on() -> None:
    road, angle = Road(), np.linspace(0.0, 3.0, 31)
    message = path_message(np.column_stack([np.sin(angle), 1.0 - np.cos(angle)]), period_s=0.2)
    for pose, yaw in zip(message.poses, 2.0 * angle, strict=True):
        turned = rotation.from_yaw(yaw)
        pose.pose.orientation.w, pose.pose.orientation.z = float(turned[0]), float(turned[3])
    read = road.interface.references()[1][2](message)
    assert read.begin_ns == 10**9 and read.since_ns[-1] == 6 * 10**9
    np.testing.assert_allclose(read.points.positions[:, 2], 2.0 * angle, atol=1e-9)


STRAIGHT = np.column_stack([np.linspace(0.0, 5.0, 11), np.zeros(11)])


@pytest.mark.parametrize(
    ("points", "frame", "words"),
    [
        (np.where(np.arange(11)[:, None] == 4, np.nan, STRAIGHT), "odom", "point 4 .* finite"),
        (STRAIGHT[:0], "odom", "0 poses"),
        (STRAIGHT[:1], "odom", "1 poses"),
        (STRAIGHT[[0, 1, 2, 2, 3]], "odom", "points 2 and 3 are at one place"),
        (1e4 * STRAIGHT, "odom", "within 1000 m"),
        (100.0 * STRAIGHT, "odom", "500 m long"),
        (STRAIGHT, "map", "frame_id is 'map'; must be 'odom'"),
        (STRAIGHT, "", "frame_id is ''"),
    ],
)
def test_a_path_that_cannot_be_driven_is_refused_with_the_reason(points: np.ndarray, frame: str, words: str) -> None:
    with pytest.raises(SignalError, match=words):
        Road().path(points, frame)


def test_a_path_within_the_limits_is_taken_and_one_that_turns_on_the_spot_is_not() -> None:
    road, manager = Road(), ReferenceManager(ROBOT)
    manager.hold(np.zeros(3))
    read = road.path(STRAIGHT)
    manager.offer(read.since_ns * 1e-9, read.points, 0.0)
    kept = manager.current
    corner = road.path(np.array([[0.0, 0.0], [1.0, 0.0], [1.05, 0.0], [1.0, 0.03], [0.0, 0.03]]))
    with pytest.raises(SignalError, match="curvature|yaw rate|acceleration"):
        manager.offer(corner.since_ns * 1e-9, corner.points, 0.0)
    assert manager.current is kept


def test_a_reference_and_a_plan_go_over_the_wire() -> None:
    interface = GroundInterface(ROBOT)
    points = Outputs(*(np.array([[0.0, 1.0, 3.0], [1.0, 2.0, 3.5]]) for _ in range(3)))
    read = interface.references()[0][2](interface.reference(7, np.array([0.0, 1.0]), points))
    for got, given in zip(read.points, points, strict=True):
        np.testing.assert_allclose(got, given, atol=1e-12)
    plan = interface.plan(7, Plan(np.arange(2.0), points.positions, points.velocities, np.zeros((1, 2))))
    assert [pose.pose.position.y for pose in plan.poses] == [1.0, 2.0]


def test_the_yaw_of_a_reference_in_parts_goes_on_whole_turns_ahead_of_the_vehicle() -> None:
    """Also after a part that cannot be used."""
    interface, since = GroundInterface(ROBOT), np.arange(0.0, 4.0, 0.05)
    for begin in range(1, 9):
        yaw = 2.0 * (begin + since)  # a turn in pi seconds; the vehicle stands at yaw 0
        points = Outputs(*(np.column_stack([np.cos(yaw), np.sin(yaw), yaw]) for _ in range(3)))
        read = interface.references()[0][2](interface.reference(begin * 10**9, since, points))
        np.testing.assert_allclose(read.points.positions[:, 2], yaw, atol=1e-9)
        broken = Outputs(*(np.full((len(since), 3), np.nan) for _ in range(3)))
        with suppress(SignalError):
            interface.references()[0][2](interface.reference(begin * 10**9, since, broken))


def test_obstacles_come_as_discs_or_as_the_occupied_cells_of_a_costmap() -> None:
    discs, costmap = (topic.read for topic in GroundInterface(ROBOT).obstacles)
    rows = np.array([[1.0, 2.0, 0.3], [4.0, 5.0, 0.1]])
    table = table_message(Table(0, ("a", "b"), ("radius_m", "x_m", "y_m"), rows[:, [2, 0, 1]]))
    np.testing.assert_array_equal(discs(table), rows)
    assert discs(Float64MultiArray()).shape == (0, 3)
    found = Obstacles(costmap(grid()))
    assert found.distance(np.array([[1.05, 2.15]]))[0] < 0.0 < found.distance(np.array([[1.05, 2.5]]))[0]


def grid(**changes: object) -> OccupancyGrid:
    """Two rows of three cells of 0.1 m at (1, 2), of which the one at (0, 1) is occupied and the next unknown."""
    message = OccupancyGrid()
    message.header.frame_id = "odom"
    message.info.resolution, message.info.width, message.info.height = 0.1, 3, 2
    message.info.origin.position.x, message.info.origin.position.y = 1.0, 2.0
    message.data = [0, 0, 0, 100, -1, 50]
    for path, value in changes.items():
        _alter(path.replace("__", "."), value)(message)
    return message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"header__frame_id": "base_link"}, "frame_id is 'base_link'"),
        ({"info__resolution": 0.0}, "resolution is 0"),
        ({"info__resolution": float("nan")}, "resolution is nan"),
        ({"info__width": 4}, "6 cells for a grid of 4 x 2"),
        ({"info__width": 2**31, "info__height": 2**31}, "6 cells for"),
        ({"info__origin__position__x": float("inf")}, "finite"),
        ({"info__origin__orientation__x": 1.0, "info__origin__orientation__w": 0.0}, "about z"),
    ],
)
def test_a_costmap_that_cannot_be_used_is_refused_with_the_reason(changes: dict, words: str) -> None:
    _, costmap = (topic.read for topic in GroundInterface(ROBOT).obstacles)
    with pytest.raises(SignalError, match=words):
        costmap(grid(**changes))


def test_the_obstacles_of_a_suite_are_heard_and_passed_in_lockstep(start: Callable) -> None:
    """Also unreadable ones are refused and counted, and change nothing."""
    kind, seed = "passable", 1000
    conditions = {"suite": "obstacles", "scenario": kind, "seed": str(seed), "reference": "suite"}
    session = start("ground", lockstep="true", controller="meta_mpc", **conditions)
    probe = session.probe
    out = probe.node.create_publisher(Float64MultiArray, "/mpc/obstacles", topics.REFERENCE_QOS)
    probe.wait(lambda: out.get_subscription_count() > 0, "the controller")
    out.publish(table_message(Table(0, ("bad",), ("x_m", "y_m"), np.zeros((1, 2)))))
    probe.wait_count("mpc", "obstacles_refused")
    probe.wait_until(6.0)
    names = ("position_x_m", "position_y_m", "yaw_rad")
    q = np.array([[table.value(name) for name in names] for table in list(probe.truth)])
    obstacles = Obstacles(simulation(ROBOT).scenario("obstacles", kind, seed).obstacles)
    assert 0.0 < clearance(ROBOT, obstacles, q).min() < 0.3
    assert session.launch.poll() and probe.states[-1]["state"] == "passing"
    session.finish()


@pytest.fixture
def line_file(tmp_path: File) -> File:
    """A raceline elsewhere: the oval, turned by 90 degrees, with edges."""
    oval = courses.oval(ROBOT)
    x, y = oval.at(np.arange(0.0, oval.length_m, 0.2)).position.T
    rows = np.column_stack([5.0 - y, x - 3.0, np.full((len(x), 2), 0.8)])
    np.savetxt(tmp_path / "line.csv", rows, delimiter=", ", header="x_m, y_m, w_tr_right_m, w_tr_left_m")
    return tmp_path / "line.csv"


@pytest.mark.parametrize(
    ("controller", "motion", "sensors", "away_m"),
    [("stanley", "line.csv", "exact", 0.6), ("meta_mpc", "oval", "wheels_imu", 0.04)],
)
def test_it_follows_its_course_in_lockstep_through_the_gate(
    start: Callable, line_file: File, controller: str, motion: str, sensors: str, away_m: float
) -> None:
    is_file = motion == line_file.name
    course = {"reference": str(line_file) if is_file else motion, "sensors": sensors}
    session = start("ground", lockstep="true", controller=controller, **course)
    probe, setpoints, commands, terrain = session.probe, {}, [], []
    poses, slips = [], []
    probe.listen(PoseWithCovarianceStamped, "amcl_pose", poses.append)
    probe.listen(Imu, IMU, slips.append)
    probe.listen(Float64MultiArray, "mpc/terrain", lambda m: terrain.append(table_of(m)))
    probe.listen(Odometry, topics.SETPOINT, lambda m: setpoints.update([GroundInterface(ROBOT).read_setpoint(m)[:2]]))
    probe.listen(Float64MultiArray, GroundInterface.commands, lambda m: commands.append(table_of(m)))
    probe.wait_until(6.0)
    assert session.launch.poll() and probe.states[-1]["state"] == "passing"
    truth: list[Table] = list(probe.truth)
    begin = [truth[0].value(name) for name in ("position_x_m", "position_y_m", "yaw_rad")]
    assert np.allclose(begin, [5.0, -3.0, 0.5 * np.pi] if is_file else np.zeros(3), atol=0.05)
    speeds = [np.hypot(t.value("velocity_x_m_s"), t.value("velocity_y_m_s")) for t in truth]
    seen_s = 1e-9 * max(setpoints) - 0.1  # on a busy machine the last set points arrive after the last states
    judged = [t for t in truth if 2.0 < t.stamp_s < seen_s]
    places = np.array([[t.value("position_x_m"), t.value("position_y_m")] for t in judged])
    course = np.array([q[:2] for q in list(setpoints.values())])
    away = [np.min(np.linalg.norm(course - place, axis=1)) for place in places]  # it lags in time: it started at rest
    assert len(away) > 100 and max(speeds) > 3.0 and max(away) < away_m
    efforts = np.array([table.values[0] for table in list(commands)])
    assert np.all(np.abs(efforts) <= ROBOT.effort_limit) and {t.columns for t in list(commands)} == {
        ("steering", "drive")
    }
    by_imu = sensors == "wheels_imu"
    assert (len(poses) > 100 and len(slips) > 400) if by_imu else not poses + slips
    if controller == "meta_mpc":
        friction, std = terrain[-1].value("friction_ratio", "mean"), terrain[-1].value("friction_ratio", "std")
        assert 0.0 < std < 0.4 and abs(friction - ROBOT.friction) < 2.0 * std  # the prior has 0.6
    session.finish()
