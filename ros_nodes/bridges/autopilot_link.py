# SPDX-License-Identifier: Apache-2.0
"""Between an autopilot bridge and its transport (MAVLink, PX4's topics, CRTP): our frames and units on both sides."""

from __future__ import annotations

from typing import Protocol

from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.autopilot.offboard import Request, Vehicle
from metarl_robot.robots.quadrotor.autopilot.rate_setpoint import RateSetpoint


class Listener(Protocol):
    """Receives the messages of an autopilot; the methods may be called from any thread.

    Stamps are times of measurement by our clock [ns]. States: pose (7,) in ENU, FLU→ENU, and twist (6,), linear in the
    world, angular in the body (FLU).
    """

    def on_state(self, stamp_ns: int, state: State) -> None: ...

    def on_inertial(self, stamp_ns: int, inertial: Inertial) -> None: ...

    def on_vehicle(self, vehicle: Vehicle) -> None: ...

    def on_flying(self, flying: bool) -> None: ...

    def on_thrust(self, thrust: float) -> None:
        """The normalised thrust that the autopilot commands, by itself or for us."""
        ...

    def on_text(self, text: str, is_problem: bool) -> None:
        """A remark of the autopilot or of the link, for people."""
        ...


class AutopilotLink(Protocol):
    """A transport. Errors of the connection are remarks and problems, not exceptions."""

    def send(self, setpoint: RateSetpoint) -> None:
        """Send a setpoint now."""
        ...

    def ask(self, request: Request) -> None:
        """Send a request; the answer is a remark."""
        ...

    def release(self) -> None:
        """Control is handed back: no setpoint follows until it is taken again."""
        ...

    def tick(self, alive: bool) -> None:
        """Called every `TICK_S`: repeat requests, keep clocks in step, and our heartbeat if `alive`."""
        ...

    def problems(self) -> list[str]:
        """Sentences for /diagnostics."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


TICK_S = 0.1
