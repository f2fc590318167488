# SPDX-License-Identifier: Apache-2.0
"""The PX4 bridge and a stand-in that speaks PX4's topics on the other end.

The stand-in (tests/autopilot/) is NOT PX4, and no uXRCE-DDS agent runs: both ends are ROS 2 nodes with px4_msgs built
from our definitions. First the link alone, in simulated time; then the whole graph mpc → gate → px4_bridge → stand-in,
in lockstep and in real time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from metarl_robot.core.errors import MetaRLError  # noqa: E402
from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402

try:
    provide("px4_msgs")
except MetaRLError as error:
    pytest.skip(f"px4_msgs: {error}", allow_module_level=True)

from px4_msgs import msg as px4  # noqa: E402

from metarl_robot.robots.quadrotor.autopilot.attitude_setpoint import AttitudeGains  # noqa: E402
from metarl_robot.robots.quadrotor.autopilot.commander import Settings  # noqa: E402
from metarl_robot.ros_nodes.bridges.px4_link import Px4Link, versioned  # noqa: E402
from tests.autopilot import loop as checks  # noqa: E402
from tests.autopilot.attitude_loop import MC_ROLL_P, MC_YAW_P  # noqa: E402
from tests.autopilot.graph import Graph, check_hand_back, check_killed_solver, lockstep_file  # noqa: E402
from tests.autopilot.loop import POSE, Loop, loaded_vehicle  # noqa: E402
from tests.autopilot.px4_stand_in import ODOMETRY_STEPS, Px4StandIn  # noqa: E402
from tests.autopilot.take import take_all  # noqa: E402
from tests.autopilot.vehicle import Vehicle  # noqa: E402
from tests.ros.conftest import free_domain  # noqa: E402

RATES, ATTITUDES = Settings(), Settings(attitude_gains=AttitudeGains(MC_ROLL_P, MC_YAW_P))


class LinkNode:
    """A node for the link, spun by hand."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self.node = rclpy.create_node("link", context=self._context)

    def spin(self) -> None:
        take_all(self.node)

    def close(self) -> None:
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def loop() -> Iterator[Callable[..., Loop]]:
    made: list[tuple[Loop, LinkNode]] = []

    def make(vehicle: Vehicle | None = None, version: str = "_v1", settings: Settings = RATES) -> Loop:
        domain, flown = free_domain(), vehicle or Vehicle()
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        own = LinkNode(domain)
        one = Loop(
            flown,
            lambda listener, clock: Px4Link(own.node, listener, clock),
            lambda: Px4StandIn(flown, False, version),
            own.spin,
            ODOMETRY_STEPS,
            settings=settings,
        )
        made.append((one, own))
        return one

    yield make
    for one, own in made:
        one.link.close()
        one.stand_in.close()
        own.close()


def test_topics_carry_the_version_of_their_message() -> None:
    assert versioned("fmu/out/vehicle_status", px4.VehicleStatus) == "fmu/out/vehicle_status_v1"
    assert versioned("fmu/out/vehicle_odometry", px4.VehicleOdometry) == "fmu/out/vehicle_odometry"
    name = "fmu/in/vehicle_attitude_setpoint"
    assert versioned(name, px4.VehicleAttitudeSetpoint) == f"{name}_v1"
    assert versioned("fmu/out/sensor_combined", px4.SensorCombined) == "fmu/out/sensor_combined"


def test_states_and_imu_arrive_in_our_frames_with_the_time_of_their_measurement(loop: Callable[..., Loop]) -> None:
    flight = loop(Vehicle(q=POSE))
    flight.sees = False
    flight.run(2.0)
    checks.check_states(flight, 20)
    checks.check_inertials(flight, 50)


def test_offboard_is_entered_only_after_a_stream(loop: Callable[..., Loop]) -> None:
    checks.check_streaming_first(loop())


@pytest.mark.parametrize("stale", ["state", "solver"])
def test_setpoints_and_proof_of_life_stop_within_a_period(loop: Callable[..., Loop], stale: str) -> None:
    checks.check_stale(loop(), stale)


def test_a_pilot_who_takes_over_keeps_control_until_the_bridge_is_told(loop: Callable[..., Loop]) -> None:
    checks.check_pilot(loop())


@pytest.mark.slow  # PX4's topics do not tell its own thrust: the curve is learned once control is taken
@pytest.mark.parametrize("settings", [RATES, ATTITUDES], ids=["rates", "attitude"])
def test_hover_and_figure_eight_with_payload_and_wind(loop: Callable[..., Loop], settings: Settings) -> None:
    flight = loop(loaded_vehicle(), settings=settings)
    checks.check_flight(flight, takeover_m=0.1, hover_m=0.03, eight_m=0.05)
    assert (flight.vehicle.setpoint.attitude is None) == (settings is RATES)


def test_another_release_of_px4_is_named(loop: Callable[..., Loop]) -> None:
    flight = loop(version="_v4")
    flight.run(1.0)
    assert any("vehicle_status_v4; source the px4_msgs of its release" in text for text in flight.link.problems())


@pytest.fixture
def graph(start: Callable) -> Iterator[Callable[..., Graph]]:
    made: list[Graph] = []

    def make(folder: Path | None = None, setpoints: str = "rates") -> Graph:
        """In lockstep with a launch file in that folder, or as launched in real time."""
        if folder is None:
            made.append(Graph(start, "px4_bridge", ("px4",), bridge="px4"))
        else:
            file = lockstep_file(folder, "px4_bridge", setpoints=setpoints)
            made.append(Graph(start, "px4_bridge", ("lockstep", "px4"), file))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_the_graph_hovers_and_hands_back_to_the_pilot(graph: Callable[..., Graph], tmp_path: Path) -> None:
    check_hand_back(graph(tmp_path, "attitude"))


def test_a_solver_that_is_killed_ends_the_stream_and_the_autopilot_holds(
    graph: Callable[..., Graph], tmp_path: Path
) -> None:
    check_killed_solver(graph(tmp_path))


@pytest.mark.real_time
def test_as_launched_it_hears_the_autopilot_in_real_time(graph: Callable[..., Graph]) -> None:
    one = graph()
    one.probe.wait(lambda: one.places and one.wanted and one.phases, "states, setpoints and phases")
