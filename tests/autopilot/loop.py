# SPDX-License-Identifier: Apache-2.0
"""A controller, the bridge's parts and a stand-in autopilot in one closed loop, over a real transport.

It runs in simulated time: a step waits for the messages of the one before, never for real time. The bridge's clock runs
with the simulation, `OURS_S` ahead of the autopilot's.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import numpy as np

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, Reference, Setpoints, State
from metarl_robot.robots.quadrotor.autopilot.commander import Commander, Settings
from metarl_robot.robots.quadrotor.autopilot.offboard import Phase
from metarl_robot.robots.quadrotor.autopilot.offboard import Vehicle as Report
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from tests.autopilot.vehicle import BOOT_S, HOLD, OFFBOARD, POSITION, STEP_S, Vehicle

ROBOT = load_robot("x500", check_model=False)
USUAL = Settings()
OURS_S = 1_000_000.0
_SHORT_S, _LONG_S = 0.05, 5.0  # of real time; no verdict depends on them
POSE = np.array([1.0, 2.0, 3.0, *rotation.multiply(rotation.from_yaw(0.7), rotation.exp(np.array([0.2, -0.1, 0.0])))])


class Later:
    """A reference that begins at a time [s]."""

    def __init__(self, reference: Reference, start_s: float) -> None:
        self._reference, self._start_s = reference, start_s

    def sample(self, times: np.ndarray) -> Setpoints:
        return self._reference.sample(np.asarray(times) - self._start_s)


class Patience:
    """Waits for a message: long on a busy machine, but short again after one that did not come."""

    def __init__(self) -> None:
        self._wait_s = _SHORT_S

    def until(self, condition: Callable[[], bool], receive: Callable[[], None]) -> bool:
        """Receive until the condition holds; returns whether it does."""
        end_s = monotonic() + self._wait_s
        while not (came := condition()) and monotonic() < end_s:
            receive()
            sleep(0.0)  # for the other end's thread
        self._wait_s = _LONG_S if came else _SHORT_S
        return came


class Delivery:
    """Whether one end has taken every packet of the other. Packets that nobody took within a patience are lost.

    sent, taken: numbers of packets.
    """

    def __init__(self, sent: Callable[[], int], taken: Callable[[], int]) -> None:
        self._sent, self._taken, self._lost = sent, taken, 0

    def done(self) -> bool:
        return self._taken() + self._lost >= self._sent()

    def give_up(self) -> None:
        self._lost = self._sent() - self._taken()


class Loop:
    """See the module's docstring.

    Arguments:
        vehicle: the stand-in's, a Vehicle or a firmware of the same shape.
        open_link: makes the bridge's link for (listener, clock).
        open_stand_in: makes the stand-in, which sends and receives.
        spin: lets the link receive, for links without a thread of their own.
        period_steps: steps between two states.
        deliveries: of this loop, in both directions, where the transport counts packets.
        settings: of the bridge's commander.

    Attributes:
        sees, commanding: whether states reach the bridge's parts, and commands of the controller do.
        errors_m, heights_m: distance from the reference and height above it at each step.
    """

    def __init__(
        self,
        vehicle: Any,
        open_link: Callable[[Loop, Callable[[], int]], Any],
        open_stand_in: Callable[[], Any],
        spin: Callable[[], None] = lambda: None,
        period_steps: int = 1,
        deliveries: Callable[[Loop], tuple[Delivery, ...]] = lambda loop: (),
        settings: Settings = USUAL,
    ) -> None:
        self.vehicle, self.reference = vehicle, Hover(vehicle.state.q[:3].copy())
        self._spin, self._every = spin, period_steps
        self.commander = Commander(vehicle.robot, settings)
        self.controller = make_controller(vehicle.robot, "se3")  # cheap; `check_flight` takes meta_mpc
        self.states: list[tuple[int, State]] = []
        self.inertials: list[tuple[int, Inertial]] = []
        self.texts: list[str] = []
        self.commanding = self.sees = True
        self.errors_m: list[float] = []
        self.heights_m: list[float] = []
        self.history: dict[int, State] = {}
        self.stand_in = open_stand_in()
        self.link = open_link(self, lambda: self.clock_ns)
        self._ticked_s, self._taken_ns, self._steps = -1.0, -1, 0
        self._for_state, self._for_setpoint, self._for_delivery = Patience(), Patience(), Patience()
        self._handed_back = False
        self._deliveries = deliveries(self)

    @property
    def clock_ns(self) -> int:
        return round((OURS_S + BOOT_S + self.vehicle.time_s) * 1e9)

    # The bridge's listener.

    def on_state(self, stamp_ns: int, state: State) -> None:
        self.states.append((stamp_ns, state))

    def on_inertial(self, stamp_ns: int, inertial: Inertial) -> None:
        self.inertials.append((stamp_ns, inertial))
        self.commander.inertial(self.vehicle.time_s, stamp_ns, inertial)

    def on_vehicle(self, vehicle: Report) -> None:
        self.commander.report(self.vehicle.time_s, vehicle)

    def on_flying(self, flying: bool) -> None:
        self.commander.flying = flying

    def on_thrust(self, thrust: float) -> None:
        self.commander.reported_thrust(self.vehicle.time_s, thrust)

    def on_text(self, text: str, is_problem: bool) -> None:
        self.texts.append(text)

    # Flight.

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def step(self) -> None:
        time_s = self.vehicle.time_s
        if time_s - self._ticked_s >= 0.1 - 1e-9:
            self._ticked_s = time_s
            self.link.tick(self.commander.offboard.alive(time_s))
            self._exchange()
        self.stand_in.step()
        self._steps += 1
        self.history[self.clock_ns] = self.vehicle.state
        self._wait()
        self._control()
        self._request()
        wanted = self.reference.sample(np.array([self.vehicle.time_s])).q[0, :3]
        off = self.vehicle.state.q[:3] - wanted
        self.errors_m.append(float(np.linalg.norm(off)))
        self.heights_m.append(float(off[2]))

    def _request(self) -> None:
        """As the bridge does."""
        offboard = self.commander.offboard
        request = offboard.poll(self.vehicle.time_s)
        handed_back = offboard.phase is Phase.HANDED_BACK
        if handed_back and not self._handed_back:
            self.link.release()
        if request is not None:
            self.link.ask(request)
        if request is not None or handed_back != self._handed_back:
            self._exchange()
        self._handed_back = handed_back

    def _exchange(self) -> None:
        """Requests and their answers, while simulated time stands still."""
        for _ in range(3):
            sleep(0.001)
            self._receive()
            self._settle()

    def _receive(self) -> None:
        self.stand_in.receive()
        self._spin()

    def _settle(self) -> None:
        """Until both ends have taken all packets."""
        if not self._for_delivery.until(lambda: all(each.done() for each in self._deliveries), self._receive):
            for each in self._deliveries:
                each.give_up()

    def _wait(self) -> None:
        """Until the state of this step has come, if the autopilot sends one in it."""
        wanted_ns = self.clock_ns - 1_500_000
        self._spin()
        self._settle()
        if not self._deliveries and self._steps % self._every == 0:
            self._for_state.until(lambda: bool(self.states) and self.states[-1][0] >= wanted_ns, self._spin)

    def _control(self) -> None:
        if not self.states or self.states[-1][0] == self._taken_ns or not self.sees:
            return
        stamp_ns, state = self.states[-1]
        self._taken_ns = stamp_ns
        self.commander.state(stamp_ns, state)
        force = self.inertials[-1][1].specific_force if self.inertials else None
        time_s = stamp_ns / 1e9 - OURS_S - BOOT_S
        self._tell_acting()
        command = self.controller.step(time_s, State(state.q, state.v, force), self.reference)
        if not self.commanding:
            return
        setpoint = self.commander.setpoint(self.vehicle.time_s, self.clock_ns, stamp_ns, command.effort)
        if setpoint is not None:
            before = self.vehicle.setpoint
            self.link.send(setpoint)
            if self._deliveries:
                self._settle()
            else:
                self._for_setpoint.until(lambda: self.vehicle.setpoint is not before, self.stand_in.receive)

    def _tell_acting(self) -> None:
        """As the mpc node does."""
        tell = getattr(self.controller, "flown", None)
        acting = self.commander.acting()
        if tell is not None:
            tell(acting)

    def engage(self) -> None:
        self.commander.offboard.engage()
        end_s = self.vehicle.time_s + 5.0
        while self.commander.offboard.phase is not Phase.ENGAGED and self.vehicle.time_s < end_s:
            self.step()
        assert self.commander.offboard.phase is Phase.ENGAGED, (self.commander.offboard.words, self.vehicle.log)


# Checks that every transport must pass.


def check_states(loop: Loop, steps: int, tolerance: float = 1e-5) -> None:
    """States come in our frames, with the time of their measurement."""
    stamps = np.array(sorted(loop.history))
    assert len(loop.states) >= steps
    for stamp_ns, state in loop.states[-steps:]:
        nearest = int(stamps[np.abs(stamps - stamp_ns).argmin()])
        assert abs(nearest - stamp_ns) <= 1_500_000  # messages in milliseconds, and the clocks' offset
        true = loop.history[nearest]
        assert np.allclose(state.q[:3], true.q[:3], atol=tolerance)
        assert np.linalg.norm(rotation.error(state.q[3:], true.q[3:])) < tolerance
        assert np.allclose(state.v, true.v, atol=10.0 * tolerance)


def check_inertials(loop: Loop, steps: int, tolerance: float = 1e-4) -> None:
    """The IMU's data come in our axes."""
    stamps, compared = np.array(sorted(loop.history)), 0
    for stamp_ns, inertial in loop.inertials[-steps:]:
        nearest = int(stamps[np.abs(stamps - stamp_ns).argmin()])
        true = loop.history[nearest]
        if abs(nearest - stamp_ns) <= 1_500_000 and true.specific_force is not None:
            compared += 1
            assert np.allclose(inertial.specific_force, true.specific_force, atol=tolerance)
            assert np.allclose(inertial.rate, true.v[3:], atol=tolerance)
    assert compared >= steps // 2


def check_streaming_first(loop: Loop) -> None:
    """The stand-in refuses offboard without a stream; the bridge streams, and asks only when told; it does not arm."""
    vehicle = loop.vehicle
    assert not vehicle.request_mode(OFFBOARD)
    loop.run(2.0)
    assert loop.commander.offboard.phase is Phase.STREAMING and vehicle.mode == HOLD and not loop.stand_in.commands
    loop.engage()
    assert vehicle.mode == OFFBOARD and vehicle.armed and "armed" not in vehicle.log
    assert {command for command, *_ in loop.stand_in.commands} == {176}  # MAV_CMD_DO_SET_MODE


def check_stale(loop: Loop, stale: str) -> float:
    """Setpoints stop within a period after state or solver; the autopilot fails safe; nothing returns unasked.

    They are stale for 2 s from the returned time on.
    """
    vehicle = loop.vehicle
    loop.engage()
    stopped_s = vehicle.time_s
    loop.sees, loop.commanding = stale != "state", stale != "solver"
    loop.run(2.0)
    assert vehicle.received_s[-1] <= stopped_s + STEP_S
    assert vehicle.failsafe and vehicle.mode == HOLD and vehicle.log[-1] == "AUTO.LOITER by failsafe"
    assert loop.commander.offboard.phase is Phase.HANDED_BACK
    loop.sees = loop.commanding = True
    loop.run(1.5)
    assert vehicle.received_s[-1] <= stopped_s + STEP_S and vehicle.mode == HOLD
    loop.engage()
    assert vehicle.mode == OFFBOARD and not vehicle.failsafe
    return stopped_s


def check_pilot(loop: Loop) -> None:
    """A pilot who takes over keeps control until the bridge is told."""
    vehicle = loop.vehicle
    loop.engage()
    vehicle.pilot(POSITION)
    taken_s = vehicle.time_s
    loop.run(1.5)
    assert vehicle.received_s[-1] <= taken_s + 0.25  # the autopilot's next report: five a second
    assert vehicle.mode == POSITION and not vehicle.failsafe
    assert "changed to POSCTL" in loop.commander.offboard.words
    loop.engage()
    assert vehicle.mode == OFFBOARD


START = np.array([0.0, 0.0, 2.0])
OWN_HOLD_S = 4.0
"""In this time the autopilot's own hold comes to rest with the payload."""


def loaded_vehicle() -> Vehicle:
    """With 30 % of payload, in 6 m/s of wind, with a battery that is 5 % down."""
    payload, wind = Payload(mass_kg=0.3 * ROBOT.mass_kg), Wind(mean_m_s=np.array([6.0, 0.0, 0.0]))
    task = QuadrotorTask(payload=payload, wind=wind, battery=0.95)
    return Vehicle(task=task, q=np.array([*START, 1.0, 0.0, 0.0, 0.0]))


def check_flight(loop: Loop, takeover_m: float, hover_m: float, eight_m: float) -> None:
    """Taking control, a hover and a figure eight of a `loaded_vehicle`, with largest errors [m].

    takeover_m: of height, in the first 2 s. hover_m: from then on. The hover thrust is learned.
    """
    vehicle = loop.vehicle
    loop.controller = make_controller(ROBOT, "meta_mpc")
    loop.run(OWN_HOLD_S)
    loop.heights_m.clear()
    loop.engage()
    loop.run(2.0)
    takeover = max(abs(height) for height in loop.heights_m)
    loop.run(1.0)
    hover = max(loop.errors_m[-round(1.0 / STEP_S) :])
    loop.reference = Later(FigureEight(START, rate_rad_s=0.8), vehicle.time_s)
    loop.run(8.0)
    errors = np.array(loop.errors_m[-round(7.0 / STEP_S) :])
    learned = loop.commander.curve.hover_thrust
    true = vehicle.thrust_of(ROBOT.mass_kg * 1.3 * 9.81 / vehicle.battery)
    print(f"height in the first 2 s: largest error {100 * takeover:.1f} cm; then hover: {100 * hover:.1f} cm; "
          f"figure eight: RMS {100 * np.sqrt(np.mean(errors**2)):.1f} cm, largest {100 * errors.max():.1f} cm; "
          f"hover thrust {learned:.3f}, true {true:.3f}")  # fmt: skip
    assert takeover < takeover_m and hover < hover_m and errors.max() < eight_m
    assert vehicle.mode == OFFBOARD and not vehicle.failsafe
    assert abs(learned - true) < 0.03
