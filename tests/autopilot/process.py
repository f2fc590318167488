# SPDX-License-Identifier: Apache-2.0
"""The stand-in autopilot in a process of its own, in real time or in lockstep with the graph (lockstep.py).

    python -m tests.autopilot.process mavlink udpout:127.0.0.1:14540
    python -m tests.autopilot.process lockstep crazyflie 19850
    python -m tests.autopilot.process lockstep px4

It prints its state as JSON, 20 lines a second, and obeys lines of its input: `pilot MODE`, `battery SHARE`, of a
Crazyflie `take_off HEIGHT`, and `wait 0`: not to wait for the graph any more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

import numpy as np

from tests.autopilot.vehicle import STEP_S, Vehicle

REPORT_S = 0.05
START = np.array([0.0, 0.0, 1.5, 1.0, 0.0, 0.0, 0.0])


class Remote:
    """That process, from a test's side. reports: its states, in order."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.autopilot.process", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        self.reports: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.reports.append(json.loads(line))

    @property
    def now(self) -> dict[str, Any]:
        return self.reports[-1] if self.reports else {}

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()


def report(vehicle: Any) -> dict[str, Any]:
    received = vehicle.received_s
    return {
        "time_s": vehicle.time_s, "mode": vehicle.mode, "armed": vehicle.armed, "failsafe": vehicle.failsafe,
        "position": vehicle.state.q[:3].tolist(), "setpoints": len(received),
        "last_s": received[-1] if received else -1.0,
        "thrust": vehicle.thrust, "log": vehicle.log,
    }  # fmt: skip


def obey(vehicle: Any, lockstep: Any) -> None:
    for line in sys.stdin:
        word, value = line.split()
        if word == "pilot":
            vehicle.pilot(value)
        elif word == "battery":
            vehicle.set_battery(float(value))
        elif word == "take_off":
            vehicle.take_off(float(value), 1.0)
        elif word == "wait":
            lockstep.end()


def _made(in_lockstep: bool, transport: str, *arguments: str) -> tuple[Any, Any]:
    """The vehicle and its stand-in. In lockstep its clock is the graph's."""
    if transport == "crazyflie":
        from tests.crazyflie.crtp_stand_in import CrtpStandIn
        from tests.crazyflie.firmware import Firmware

        crazyflie = Firmware()
        return crazyflie, CrtpStandIn(crazyflie, int(arguments[0]))
    vehicle = Vehicle(q=START)
    if transport == "mavlink":
        from tests.autopilot.mavlink_stand_in import MavlinkStandIn

        return vehicle, MavlinkStandIn(vehicle, *arguments, simulated_time=in_lockstep)
    from tests.autopilot.px4_stand_in import Px4StandIn

    return vehicle, Px4StandIn(vehicle, synchronised=not in_lockstep)


def _lockstep(stand_in: Any) -> Any:
    from tests.autopilot.lockstep import Lockstep

    return Lockstep(stand_in, round(2 * STEP_S * 1e9))


def main() -> None:
    in_lockstep = sys.argv[1] == "lockstep"
    transport, *arguments = sys.argv[1 + in_lockstep :]
    if not in_lockstep:
        with suppress(OSError):  # an autopilot has a processor of its own
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(40))
    vehicle, stand_in = _made(in_lockstep, transport, *arguments)
    lockstep = _lockstep(stand_in) if in_lockstep else None
    threading.Thread(target=obey, args=(vehicle, lockstep), daemon=True).start()
    begun_s, reported_s = monotonic(), 0.0
    while True:
        if lockstep and lockstep.waits:
            begun_s = monotonic() - vehicle.time_s - STEP_S
        if monotonic() - begun_s - vehicle.time_s < STEP_S:
            sleep(0.0005)
            stand_in.receive()
            continue
        stand_in.step()
        if lockstep is not None:
            lockstep.step()
        if vehicle.time_s >= reported_s:
            reported_s = vehicle.time_s + REPORT_S
            print(json.dumps(report(vehicle)), flush=True)


if __name__ == "__main__":
    main()
