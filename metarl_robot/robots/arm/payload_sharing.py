# SPDX-License-Identifier: Apache-2.0
"""When an estimated payload may be given to a driver that compensates gravity, and the load that it then compensates.

    idle       nothing can be shared, or what is shared is still right
    settled    an estimate is settled and plausible, and differs from what the driver has
    requested  the driver was asked, and has not answered
    accepted   the driver compensates the load

Once a driver has accepted a load, the efforts that are sent to it are smaller by the gravity of that load, while the
estimate stays that of the whole payload: it is learned from efforts with this gravity. Otherwise the load would be
compensated twice, or the estimate would fall to zero. So the effort that acts must not jump at that moment. There are
two kinds of drivers:

* It takes a load only while nothing controls the arm (Franka). Then the last settled estimate counts, from while our
  efforts acted, for VALID_S.
* It takes a load at any time and fades it in (UR). It is then also taken while the arm rests under our efforts; what we
  send fades in the same time. The first load is not: what the driver compensated before is not known.

An estimate is settled if, for SETTLED_S, its mass stayed within STEADY of the larger of itself and half of the rating,
its standard deviation is below SURE of the same, and no contact was reported. Its mean over this time is shared. It is
plausible if its mass is within the rating, and its centre of mass within REACH_M of the payload's site. Times: one
monotonic clock [s].
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.arm.tool_load import BEYOND_RATING, NOTHING, REACH_M, load_of
from metarl_robot.robots.rigid_body_parameters import existing_body

Array = NDArray[np.float64]

SETTLED_S = 1.0
STEADY, SURE = 0.1, 0.3
ABSENT = 0.05
"""An estimate of less than this share of the rating is no payload."""
VALID_S = 60.0
"""A settled estimate can be shared for this long after our efforts have ceased to act."""
FRESH_S = 0.5
"""An older estimate is not the present one."""
ANSWER_S = 5.0
"""A driver that has not answered for this long may be asked again."""
STANDSTILL = 0.01
"""An arm rests below this share of its velocity limits."""

_HOLD = "let the robot's own controller hold the arm (the bridge's ~/hold)"


class Stage(Enum):
    """See the module's docstring."""

    IDLE = "idle"
    SETTLED = "settled"
    REQUESTED = "requested"
    ACCEPTED = "accepted"


class SharingError(MetaRLError):
    """A payload cannot be shared now."""


class _Seen(NamedTuple):
    """An estimate: parameters (10,), standard deviation of the mass, and whether a contact was reported."""

    time_s: float
    parameters: Array
    mass_std_kg: float
    contact: bool


class PayloadSharing:
    """See the module's docstring.

    Arguments:
        rated_kg: rated payload.
        fades: the driver fades a load in while the arm is controlled.
        fade_s: how long it does so [s].
    """

    def __init__(self, rated_kg: float, fades: bool, fade_s: float) -> None:
        self._rated_kg, self._fades, self._fade_s = rated_kg, fades, fade_s
        self._seen: deque[_Seen] = deque()
        self._settled: _Seen | None = None
        self._acts, self._may_act, self._speed = False, False, inf
        self._asked: Array | None = None
        self._asked_s, self._asked_fade_s = -inf, 0.0
        self._refusal, self._known = "", False
        self._from = self._to = NOTHING
        self._since_s, self._over_s = -inf, 0.0

    def see(self, time_s: float, parameters: Array, mass_std_kg: float, contact: bool) -> None:
        """Take an estimate; one of while our efforts do not act is worth nothing."""
        if not self._acts:
            return
        if self._seen and time_s - self._seen[-1].time_s > FRESH_S:
            self._seen.clear()
        self._seen.append(_Seen(time_s, parameters.copy(), mass_std_kg, contact))
        while len(self._seen) > 1 and self._seen[1].time_s <= time_s - SETTLED_S:
            self._seen.popleft()
        mean = np.mean([each.parameters for each in self._seen], axis=0)
        self._settled = None if self._unsettled() else self._seen[-1]._replace(parameters=mean)

    def acts(self, acts: bool, may_act: bool) -> None:
        """Take whether our efforts act, and whether they may still do so while the robot's controller takes over."""
        if acts and not self._acts:
            self._seen.clear()
            self._settled = None
        self._acts, self._may_act = acts, acts or may_act

    def moves(self, speed: float) -> None:
        """Take the largest joint speed, as a share of its limit."""
        self._speed = speed

    def obstacle(self, time_s: float) -> str:
        """Why no load can be requested now; empty if it can."""
        if self._asked is not None and time_s - self._asked_s < ANSWER_S:
            return "the driver has not answered the last request"
        if time_s < self._since_s + self._over_s:
            return "the last load is being faded in"
        if self._settled is None:
            return self._unsettled()
        if self._acts and not self._fades:
            return f"our efforts act; {_HOLD}"
        if self._acts and not self._known:
            return f"our efforts act, and what the driver compensates is not known; for the first time, {_HOLD}"
        if self._acts and self._speed > STANDSTILL:
            return "the arm moves; let it rest"
        if self._may_act and not self._acts:
            return "the robot's own controller is taking over; ask again in a second"
        longest_s = FRESH_S if self._acts else VALID_S
        if time_s - self._settled.time_s > longest_s:
            return f"the last settled estimate is {time_s - self._settled.time_s:.0f} s old; allowed: {longest_s:g} s"
        return ""

    def request(self, time_s: float) -> tuple[Array, float]:
        """The parameters (10,) that the driver is to take, and in how many seconds. Raises SharingError."""
        obstacle = self.obstacle(time_s)
        if obstacle or self._settled is None:
            raise SharingError(f"no payload is shared: {obstacle}")
        self._asked, self._refusal = self._possible(self._settled.parameters), ""
        self._asked_s, self._asked_fade_s = time_s, self._fade_s if self._acts else 0.0
        return self._asked, self._asked_fade_s

    def accept(self, time_s: float) -> None:
        """The driver has taken the load that it was asked to take."""
        if self._asked is not None:
            self._from, self._to, self._asked = self.compensated(time_s), self._asked, None
            self._since_s, self._over_s, self._known = time_s, self._asked_fade_s, True

    def refuse(self, why: str) -> None:
        """The driver has not taken the load: nothing changes."""
        if self._asked is not None:
            self._asked, self._refusal = None, why

    def compensated(self, time_s: float) -> Array:
        """Parameters (10,) of the load that the driver compensates."""
        if time_s >= self._since_s + self._over_s:
            return self._to
        share = (time_s - self._since_s) / self._over_s
        return np.asarray(self._from + share * (self._to - self._from))

    def stage(self, time_s: float) -> Stage:
        """The present one."""
        if self._asked is not None:
            return Stage.REQUESTED
        if self._settled is not None and not self.is_shared(self._settled.parameters):
            return Stage.SETTLED
        return Stage.ACCEPTED if self._to.any() else Stage.IDLE

    def is_shared(self, parameters: Array) -> bool:
        """Whether an estimate is that of the load which the driver has."""
        return abs(float(self._possible(parameters)[0] - self._to[0])) < ABSENT * self._rated_kg

    def words(self, time_s: float) -> str:
        """The stage and its reason, for people."""
        stage, refusal = self.stage(time_s), f"; refused: {self._refusal}" if self._refusal else ""
        shared = f"; the driver compensates {self._to[0]:.2f} kg" if self._to.any() else ""
        if stage is Stage.SETTLED and self._settled is not None:
            obstacle = self.obstacle(time_s)
            wait = f" ({obstacle})" if obstacle else ""
            return f"{stage.value}: {self._possible(self._settled.parameters)[0]:.2f} kg{wait}{shared}{refusal}"
        if stage is Stage.REQUESTED and self._asked is not None:
            late = "; no answer yet: ask again" if time_s - self._asked_s >= ANSWER_S else ""
            return f"{stage.value}: {self._asked[0]:.2f} kg{late}{shared}"
        if stage is Stage.ACCEPTED:
            return f"{stage.value}: the driver compensates {self._to[0]:.2f} kg{refusal}"
        return f"{stage.value}: {self.obstacle(time_s) or 'no payload'}{refusal}"

    def _possible(self, parameters: Array) -> Array:
        """The nearest body that can exist, without any where the mass is about zero."""
        return NOTHING if parameters[0] < ABSENT * self._rated_kg else existing_body(parameters, REACH_M)

    def _unsettled(self) -> str:
        """Why the newest estimate is not settled or not plausible; empty if it is both."""
        if not self._seen:
            return "there is no estimate of while our efforts acted"
        newest, rated = self._seen[-1], self._rated_kg
        mass = float(newest.parameters[0])
        scale = max(mass, 0.5 * rated)
        masses = [float(each.parameters[0]) for each in self._seen]
        numbers = np.array([*newest.parameters, newest.mass_std_kg, *masses])
        if not np.isfinite(numbers).all():
            return "the estimate is not finite"
        if any(each.contact for each in self._seen):
            return f"a contact was reported within the last {SETTLED_S:g} s"
        if newest.time_s - self._seen[0].time_s < SETTLED_S:
            return f"the estimate is younger than {SETTLED_S:g} s"
        if max(masses) - min(masses) > STEADY * scale:
            return f"the mass changed by {max(masses) - min(masses):.2f} kg; allowed: {STEADY * scale:.2f} kg"
        if max(each.mass_std_kg for each in self._seen) > SURE * scale:
            return f"the mass is known to {newest.mass_std_kg:.2f} kg; needed: {SURE * scale:.2f} kg. Move the arm"
        if not -ABSENT * rated <= mass <= BEYOND_RATING * rated:
            return f"a mass of {mass:.2f} kg is outside the rating, 0 to {rated:g} kg"
        far_m = float(np.linalg.norm(load_of(newest.parameters).com_m)) if mass >= ABSENT * rated else 0.0
        if far_m > REACH_M:
            return f"its centre of mass is {far_m:.2f} m from the payload's site; plausible: up to {REACH_M:g} m"
        return ""
