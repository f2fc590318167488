# SPDX-License-Identifier: Apache-2.0
"""The bridge to crazyswarm2's topics and a stand-in for its server (tests/crazyflie/), in simulated time. It is NOT
crazyswarm2, which is not on PyPI. The types of its messages are compared with those of a published build of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402

try:
    provide("crazyflie_interfaces")
except Exception as error:
    pytest.skip(f"crazyflie_interfaces cannot be built: {error}", allow_module_level=True)

from crazyflie_interfaces import msg  # noqa: E402

from metarl_robot.core.robot import load_robot  # noqa: E402
from metarl_robot.robots.quadrotor.autopilot.commander import Settings  # noqa: E402
from metarl_robot.robots.quadrotor.autopilot.motion import Motion  # noqa: E402
from metarl_robot.robots.quadrotor.autopilot.offboard import Phase, Request  # noqa: E402
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint  # noqa: E402
from metarl_robot.robots.quadrotor.trajectories import Hover  # noqa: E402
from metarl_robot.ros_nodes.bridges.crazyswarm_link import CrazyswarmLink  # noqa: E402
from tests.autopilot import loop as checks  # noqa: E402
from tests.autopilot.loop import Loop  # noqa: E402
from tests.autopilot.vehicle import STEP_S  # noqa: E402
from tests.crazyflie.firmware import ANGLE, Firmware  # noqa: E402
from tests.crazyflie.server_stand_in import FAST_STEPS, ServerStandIn  # noqa: E402
from tests.ros.conftest import free_domain  # noqa: E402

ALOFT = np.array([0.0, 0.0, 1.0])
ROBOT = load_robot("crazyflie", check_model=False)
FULL_M_S2 = float(ROBOT.effort_limit.sum()) / ROBOT.mass_kg
HASHES = {
    msg.Status: "RIHS01_ff5d15767a9840ce663a6d80e7e9eb187929cb7e0ce597f9eaead0402c3f44b9",
    msg.LogDataGeneric: "RIHS01_c384b5eed47a721c171818ebf0619ac2681eb5949b020a344247a16ab02a63e7",
}
"""Of crazyflie_interfaces as built by users of crazyswarm2, from the generated code that they have published."""


@pytest.fixture
def loop() -> Iterator[Callable[..., Loop]]:
    made: list[Callable[[], None]] = []

    def make(vehicle: Firmware | None = None, full_m_s2: float | None = None) -> Loop:
        os.environ["ROS_DOMAIN_ID"] = str(domain := free_domain())
        context = rclpy.Context()
        context.init(domain_id=domain)
        node = rclpy.create_node("link", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        flown = vehicle or Firmware()
        one = Loop(
            flown,
            lambda listener, clock: CrazyswarmLink(node, "cf231", True, 0.0, listener, full_m_s2),
            lambda: ServerStandIn(flown),
            lambda: executor.spin_once(0.0),
            FAST_STEPS,
            settings=Settings(0.0, 0.03) if full_m_s2 is None else Settings(0.0, 0.015, lead_s=0.005),
        )
        made.extend([one.link.close, one.stand_in.close, executor.shutdown, node.destroy_node, context.try_shutdown])
        return one

    yield make
    for close in made:
        close()


def take_off(loop: Loop) -> None:
    loop.run(0.5)
    loop.vehicle.take_off(float(ALOFT[2]), 1.0)
    loop.reference = Hover(ALOFT)
    loop.run(1.5)


def test_messages_have_the_types_of_crazyswarm2(loop: Callable[..., Loop]) -> None:
    node = loop().stand_in.node
    for topic, kind in (("/cf231/status", msg.Status), ("/cf231/metarl", msg.LogDataGeneric)):
        (info,) = node.get_publishers_info_by_topic(topic)
        assert str(info.topic_type_hash) == HASHES[kind]


def test_states_and_imu_arrive_in_our_frames(loop: Callable[..., Loop]) -> None:
    flight = loop(Firmware(q=checks.POSE))
    flight.sees = False
    flight.run(0.6)
    checks.check_states(flight, 15, 2e-3)
    checks.check_inertials(flight, 15, 1e-3)


@pytest.mark.slow
def test_rates_have_our_signs(loop: Callable[..., Loop]) -> None:
    """On the way to the firmware two signs of pitch are turned: here and in the server. See also the link by cflib."""
    flight = loop()
    take_off(flight)
    assert not flight.vehicle.locked_thrust
    flight.sees = False
    flight.link.ask(Request.MODE)
    flight.run(0.1)
    turned = np.zeros(3)
    for _ in range(30):
        flight.link.send(RateSetpoint(0.7, np.array([1.0, -0.5, 1.0])))
        flight.step()
        turned += STEP_S * flight.vehicle.state.v[3:]
    assert turned[0] > 0.05 and turned[2] > 0.02 and -0.7 * turned[0] < turned[1] < -0.02


def test_full_states_are_those_of_the_message(loop: Callable[..., Loop]) -> None:
    flight = loop(full_m_s2=FULL_M_S2)
    flight.sees = False
    flight.run(0.3)
    flight.link.ask(Request.MODE)
    flight.run(0.1)
    numbers, q = np.random.default_rng(0).uniform(-9.0, 9.0, (4, 3)), np.array([0.8, 0.0, -0.6, 0.0])
    flight.link.send(RateSetpoint(0.5, np.zeros(3), Motion(*numbers[:3], q, numbers[3])))
    flight.run(0.02)
    got = flight.vehicle.setpoint
    assert got.motion == pytest.approx(numbers[:3]) and np.radians(got.rates) == pytest.approx(numbers[3])
    assert got.q == pytest.approx(q)


@pytest.mark.slow
@pytest.mark.parametrize("full_m_s2", [None, FULL_M_S2], ids=["rates", "full_state"])
def test_it_flies_and_lands_when_the_solver_is_gone(loop: Callable[..., Loop], full_m_s2: float | None) -> None:
    flight = loop(full_m_s2=full_m_s2)
    take_off(flight)
    flight.engage()
    flight.run(1.5)
    assert flight.vehicle.flying and flight.errors_m[-1] < 0.1
    assert (flight.vehicle.full_states > 100) == (full_m_s2 is not None)
    stopped_s, flight.commanding = flight.vehicle.time_s, False
    flight.run(5.0)
    assert flight.vehicle.received_s[-1] <= stopped_s + FAST_STEPS * STEP_S
    assert flight.commander.offboard.phase is Phase.HANDED_BACK
    assert "high-level landing" in flight.vehicle.log and "locked" not in flight.vehicle.log
    assert flight.vehicle.state.q[2] < 0.02 and flight.vehicle.parameters["flightmode.stabModeRoll"] == ANGLE
    assert flight.vehicle.parameters["stabilizer.controller"] == 1
