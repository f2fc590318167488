# SPDX-License-Identifier: Apache-2.0
"""An external wrench (contact, a push) is not context: it is not learned, and plans do not push back against it.

A momentum filter explains every force by its context and its disturbance. The force beyond the last lasting model
(lasting_models.py) is external if no possible context explains it (FeatureGroup.unexplained), or if the best
explanation is physically impossible (FeatureGroup.possible). The last lasting model is then held, so that the
controller meets the obstacle with only the stiffness of its tracking, and no force builds up. Only a force along which
the robot moves is compensated (free_force.py). Meanwhile a second filter starts from the prior. The hold ends

- when the new estimate gives the same residual as the held model: the contact has ended; the held model is kept;
- when the robot has moved, and a possible explanation has lasted: the model was wrong; the new one is kept;
- when the force brakes all joints as friction does (dissipating_force.py): the new estimate is kept as it is.

While a filter holds its prior after a restart, it has no model, and no earlier model is held.

A force that a context can explain is attributed to it: a downward push to a payload. When it ends, the earlier model is
a hypothesis of the filter and returns at once. Where the best explanation is impossible, but a payload may have been
put down, the filter continues without the payload, because its mass was estimated wrongly.

`external` is the external force (contact_state.py), with the same threshold FELT.
"""

from __future__ import annotations

from collections import deque
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.contact_state import ContactState
from metarl_robot.adaptation.dissipating_force import DissipatingForce
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.free_force import FreeForce
from metarl_robot.adaptation.lasting_models import REMEMBERED, LastingModels
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.resting_robot import RestingRobot
from metarl_robot.adaptation.reversals import Reversals
from metarl_robot.adaptation.undecided_force import UndecidedForce
from metarl_robot.adaptation.wrapped import WrappedAdapter
from metarl_robot.core.external_force import Contact, ExternalForce
from metarl_robot.core.signals import Context, State

Array = NDArray[np.float64]

FELT = 18.0
"""Threshold of an unexplained force, in standard deviations of the initial disturbance.

It applies to the Euclidean norm over the joints: 3.6 % of a joint's effort limit, or 2.1 % in each of three joints.
"""
FELT_SHARE = 0.2
"""Errors of other features (motor strength) are up to this share of a force; an unexplained force must exceed it."""
FELT_SLOW = 12.0
"""Threshold of the unexplained part of a force where the robot is slow, because model errors hardly change there."""
FELT_AT_REST = 9.0
"""Threshold of a force that has moved a resting robot (resting_robot.py), beyond that of a payload."""
DRIVES_SHARE = 0.35
"""The same share for a force that has moved a resting robot. With 0.2, a payload of 1 kg was taken for a contact."""
QUIET_SHARE = 0.7
"""Below this share of FELT_AT_REST, no new force acts on a resting robot."""
LEAST_FELT = 0.3 * FELT
"""The costly test is skipped if every joint is below this threshold and the context hardly changed."""
USUAL_S, USUAL_SHARE = 3.0, 1.0
"""The unit is at least this share of the root mean square that the model usually misses, averaged over USUAL_S.

With a share of 0.5, torque ripple and friction of a different shape were taken for contacts.
"""
LAG_S = 0.5
"""The usual force excludes the latest samples, because a contact's force may rise slowly."""
FELT_S = 0.008
"""A force is external when it has exceeded the threshold for this time."""
AGREES_S = 0.05
"""A contact has ended when both models agree for this time."""
AGREES_WITHIN, AGREES_SLOW = 10.0, 5.0
"""Largest root mean square difference of agreeing models, in standard deviations of the initial disturbance.

The second applies where the robot is slow. With 10, a small contact seemed to end, and its force built up again and
again. With 3, the hold outlasted the contact by more than a second.
"""
EXPLAINED_S = 1.0
"""A new explanation is accepted when it has lasted for this time, in motion."""
UNEXPLAINED_S = 5.0
"""The same time, if no possible context explains the force."""
MOVED_S = 0.1
"""Motion that distinguishes a model error from a contact: the distance at full speed in this time."""

FRICTION_CHANGE, FRICTION_FADES_S = 2.0, 10.0
"""After a hold that was friction, forces up to FRICTION_CHANGE times this friction are no contact: a reversal changes
it by as much. The bound falls by a factor e within FRICTION_FADES_S, in which the filter learns the friction.
"""


class ExternalWrenchGuard(WrappedAdapter[MomentumFilter]):
    """Adapter: a momentum filter that holds its last model while an external wrench acts.

    external_wrench: whether one acts. external: the external force, and whether it is a contact. Other attributes are
    those of the active filter.

    Arguments:
        inner: the filter.
        spare: a second one of the same configuration, to start again beside a held model.
        velocity_limit: (n,) [rad/s].
    """

    def __init__(self, inner: MomentumFilter, spare: MomentumFilter, velocity_limit: Array) -> None:
        self.inner, self._spare, self._velocity_limit = inner, spare, velocity_limit
        self._friction, self._reversals = np.zeros(len(velocity_limit)), Reversals(velocity_limit)
        self._least_felt = LEAST_FELT * inner.disturbance_scale
        self._forget()

    def reset(self) -> None:
        self.inner.reset()
        self._friction, self._reversals = np.zeros(len(self._velocity_limit)), Reversals(self._velocity_limit)
        self._forget()

    def _forget(self) -> None:
        self.external_wrench, self._felt_s = False, 0.0
        self._models, self._rest = LastingModels(), RestingRobot(self._velocity_limit)
        self._put_down: Belief | None = None  # the model that has ended because its object was put down
        self._felt: tuple[Belief, Array] | None = None  # beyond this model, in the present sample
        self._usual = np.zeros(len(self._velocity_limit))  # mean square of the force that the model misses,
        self._recent: deque[tuple[float, Array]] = deque()  # intervals and squares of the latest ones, together
        self._recent_s = 0.0
        self._contact = ContactState(self._velocity_limit, self.inner.belief.copy())
        self._undecided, self._withheld = UndecidedForce(self._velocity_limit), np.zeros(len(self._velocity_limit))

    def evaluate(self, xi: Xi) -> Array:
        return self.inner.evaluate(xi) - self._withheld

    @property
    def external(self) -> ExternalForce:
        """The external force, accurate to some newtons at a hand and a few tens of milliseconds late."""
        contact = self._contact
        if contact.quiet:
            return ExternalForce(contact.contact, self.inner.observed_beyond(contact.model))
        return contact.external

    def expect_measured_efforts(self) -> None:
        """See MomentumFilter."""
        for each in (self.inner, self._spare):
            each.expect_measured_efforts()

    def continue_from(self, earlier: ExternalWrenchGuard) -> bool:
        """See MomentumFilter."""
        inner, spare = self.inner, self._spare
        if not inner.continue_from(earlier.inner):
            return False
        spare.continue_from(earlier._spare)
        vars(self).update({**vars(earlier), "inner": inner, "_spare": spare})
        return True

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self.advance(state, effort, dt)
        return self.inner.context

    def advance(self, state: State, effort: Array, dt: float) -> None:
        believed = self.inner.believed(state)
        self._rest.update(believed, effort, dt)
        self._friction = self._friction * exp(-dt / FRICTION_FADES_S)
        self._reversals.update(believed.v, dt)
        if self.external_wrench:
            self._wait(state, effort, dt)
        else:
            self._felt, self.inner.remembered = None, self._models.earlier
            self.inner.advance(state, effort, dt)
            believed = self.inner.believed(state)
            self._withhold(believed, effort, dt)
            self._judge(believed, effort, dt)
            self._watch(believed, effort, dt)

    def _withhold(self, state: State, effort: Array, dt: float) -> None:
        """Bound the force beyond the lasting model that control compensates."""
        known, inner = self._models.known, self.inner
        differs = bool(known) and inner.differs(known[0], self._least_felt)
        force = self._felt_beyond(known[0], state, effort) if differs else np.zeros(len(effort))

        def unlike_body() -> Array:
            return inner.unexplained(force, known[0], state, effort, bodies_only=True)

        unit, tested = self._unit(inner), inner.hypotheses > 0
        self._withheld = self._undecided.withheld(force, unit, tested, unlike_body, state, dt)

    def _watch(self, state: State, effort: Array, dt: float) -> None:
        """Process the force beyond the confirmed model, which follows the lasting one while no force acts."""
        if self.external_wrench:
            self._contact.hold(None, dt)
            return
        contact, inner, lasting = self._contact, self.inner, self._models.present
        if lasting is not None and contact.contact is Contact.NONE:
            contact.model = lasting
        known = self._felt is not None and self._felt[0] is contact.model
        near = not known and not inner.differs(contact.model, self._least_felt)
        contact.quiet = near and contact.contact is Contact.NONE
        if contact.quiet:
            return
        force = inner.observed_beyond(contact.model) if near else self._felt_beyond(contact.model, state, effort)
        if contact.watch(force, self._unit(inner), FELT, state, dt):
            contact.confirm(inner.belief.copy())

    def _felt_beyond(self, model: Belief, state: State, effort: Array) -> Array:
        """The filter's force beyond a model, computed once for each sample and model."""
        if self._felt is None or self._felt[0] is not model:
            self._felt = model, self.inner.felt_beyond(model, state, effort)
        return self._felt[1]

    def _judge(self, state: State, effort: Array, dt: float) -> None:
        """Store a lasting model; hold it where the present one is impossible or does not explain the force."""
        inner, models = self.inner, self._models
        if inner.restarting:
            self._models, self._felt_s = LastingModels(), 0.0
            return
        possible = inner.possible or not self._acts(state, effort)
        if inner.hypotheses > 0 or not possible:
            models.changed()
        elif not self._undecided.bounded:
            models.steady(inner.belief, dt)
        driven = self._driven(state, effort, dt)
        self._felt_s = self._felt_s + dt if driven or self._feels(state, effort) else 0.0
        observed = inner.observed
        if _norm(observed / inner.disturbance_scale) < FELT:
            self._miss(observed, dt)
        if not models.known or (possible and self._felt_s < FELT_S):
            return
        model = models.known[0]
        if not (driven or model is self._put_down or self._unexplained(inner, model, state, effort)):
            if inner.hypotheses > 0:
                return  # among them is that an object was put down
            self._put_down = model  # an object was put down that had been estimated too light
            models.changed()
            inner.remove(model, state, effort, dt)
        else:
            self._hold(model, state, effort, dt)

    def _miss(self, force: Array, dt: float) -> None:
        """Process a force (n,) that the model misses; it counts as usual after LAG_S."""
        self._recent.append((dt, force**2))
        self._recent_s += dt
        while self._recent_s > LAG_S:
            interval_s, square = self._recent.popleft()
            self._recent_s -= interval_s
            self._usual += min(interval_s / USUAL_S, 1.0) * (square - self._usual)

    def _acts(self, state: State, effort: Array) -> bool:
        """Whether a force acts beyond every lasting model, explained or not.

        If not, a mass that drifts below zero is a model error; the nearest possible body gives control the same force.
        """
        known = self._models.known
        return all(_norm(self._felt_beyond(model, state, effort) / self._unit(self.inner)) >= FELT for model in known)

    def _driven(self, state: State, effort: Array, dt: float) -> bool:
        """Whether a force beyond every lasting model, and beyond that of a payload, has moved a resting robot."""
        known, rest = self._models.known, self._rest
        if not known or not rest.known:
            return False
        if self._size_at_rest(known[0], state, effort) < QUIET_SHARE * FELT_AT_REST:
            rest.undisturbed(state, effort, dt)
            return False
        rest.disturbed(state, effort, self._felt_beyond(known[0], state, effort) - self._withheld, dt)
        return all(self._drives(model, state, effort) for model in known)

    def _size_at_rest(self, model: Belief, state: State, effort: Array) -> float:
        """Size of the force beyond a model, in units; 0 where the quick test finds none."""
        if not self.inner.differs(model, self._least_felt):
            return 0.0
        return _norm(self._felt_beyond(model, state, effort) / self._unit(self.inner))

    def _drives(self, model: Belief, state: State, effort: Array) -> bool:
        if self._size_at_rest(model, state, effort) < FELT_AT_REST:
            return False
        felt, unit = self._felt_beyond(model, state, effort), self._unit(self.inner)
        if not self.inner.velocities_measured:  # positions alone show a force less exactly
            unit = np.maximum(unit, self.inner.force_std(state, effort))
        size, force = _norm(felt / unit), self._beyond_friction(felt)
        other = self.inner.unexplained(force, model, state, effort, bodies_only=True)
        least = max(FELT_AT_REST, DRIVES_SHARE * size)
        return _norm(self._rest.driving(other) / unit) >= least

    def _feels(self, state: State, effort: Array) -> bool:
        """Whether a force acts that neither a change of a lasting model nor a reversal explains."""
        known = self._models.known
        return bool(known) and all(
            self._unexplained(self.inner, model, state, effort)
            and self._unexplained(self.inner, model, state, effort, reversals=True)
            for model in known
        )

    def _unexplained(
        self, now: MomentumFilter, model: Belief, state: State, effort: Array, reversals: bool = False
    ) -> bool:
        """Whether a force acts that no change of a model explains. reversals: nor friction that changes its sign."""
        if not now.differs(model, self._least_felt):
            return False
        own = now is self.inner
        felt = self._felt_beyond(model, state, effort) if own else now.felt_beyond(model, state, effort)
        unit = self._unit(now)
        felt = self._beyond_friction(self._reversals.without_friction(felt, state.v) if reversals else felt)
        least = FELT_SLOW if self._rest.slow else max(FELT, FELT_SHARE * _norm(felt / unit))
        return _norm(felt / unit) >= FELT and _norm(now.unexplained(felt, model, state, effort) / unit) >= least

    def _beyond_friction(self, force: Array) -> Array:
        """Part (n,) of a force that friction, as found in the last hold, does not explain [Nm]."""
        return np.asarray(force - np.clip(force, -self._friction, self._friction))

    def _unit(self, now: MomentumFilter) -> Array:
        """Unit (n,) in which a force is judged [Nm]."""
        return np.maximum(now.disturbance_scale, USUAL_SHARE * np.sqrt(self._usual))

    def _hold(self, model: Belief, state: State, effort: Array, dt: float) -> None:
        self.external_wrench, self._free = True, FreeForce(len(self._velocity_limit))
        self._dissipating = DissipatingForce(self._velocity_limit)
        self._undecided.end()
        self._withheld = np.zeros(len(effort))
        self._models.changed()
        self._follow(model, state, effort, dt)
        self._begin(state, effort, dt)

    def _follow(self, model: Belief, state: State, effort: Array, dt: float) -> None:
        self.inner.belief = model.copy()
        self.inner.follow(state, effort, dt)

    def _begin(self, state: State, effort: Array, dt: float) -> None:
        """Start a new estimate beside the held model."""
        self._agreed_s, self._explained_s, self._clear_s, self._moved_s = [0.0] * REMEMBERED, 0.0, 0.0, 0.0
        self._spare.reset()
        self._spare.take_machine(self.inner)
        self._spare.remembered = self._models.earlier
        self._spare.advance(state, effort, dt)

    def _wait(self, state: State, effort: Array, dt: float) -> None:
        """Check for the end of the contact, and for a better model."""
        held, fresh = self.inner, self._spare
        self._contact.hold(held.pushed(state, effort, dt), dt)
        fresh.advance(state, effort, dt)
        state = fresh.believed(state)
        held.follow(state, effort, dt, self._free.update(self._contact.force, state.v, dt))
        if self._dissipating.update(self._contact.force, self._unit(held), state.v, dt):
            self._end_as_friction()
            return
        self._moved_s += float(np.max(np.abs(state.v) / self._velocity_limit)) * dt
        explained = fresh.hypotheses == 0 and fresh.possible
        self._explained_s = self._explained_s + dt if explained else 0.0
        agreeing = self._agreeing(state, effort, dt)
        if agreeing is not None:
            self.external_wrench, self._felt_s = False, 0.0
            self.inner.resume(agreeing, state, effort, dt)
            self._models.returned(agreeing)
            self._contact.confirm(agreeing)
        elif self._moved_s >= MOVED_S:
            self._after_motion(state, effort, dt)

    def _after_motion(self, state: State, effort: Array, dt: float) -> None:
        fresh = self._spare
        if self._explained_s > 0.0:
            unexplained = self._unexplained(fresh, self.inner.belief, state, effort)
            self._clear_s = 0.0 if unexplained else self._clear_s + dt
            if min(self._clear_s, self._explained_s) >= EXPLAINED_S or self._explained_s >= UNEXPLAINED_S:
                self._accept()
        elif fresh.hypotheses == 0 and not fresh.possible:
            self._begin(state, effort, dt)

    def _end_as_friction(self) -> None:
        """The held force is friction: continue with the new model, whether or not it explains the force already."""
        self._friction = np.maximum(self._friction, FRICTION_CHANGE * self._dissipating.size)
        self._accept()

    def _accept(self) -> None:
        """Continue with the new model. The held one may return: a push that moves the robot ends, too."""
        earlier = self._models.earlier
        self.inner, self._spare = self._spare, self.inner
        self._forget()
        self._models.earlier = earlier
        self._models.present = self.inner.belief.copy()

    def _agreeing(self, state: State, effort: Array, dt: float) -> Belief | None:
        """The lasting model that has given the same residual as the new estimate for AGREES_S."""
        within = AGREES_SLOW if self._rest.slow else AGREES_WITHIN
        for i, model in enumerate(self._models.earlier):
            away = self._spare.beyond(model, state, effort) / self._spare.disturbance_scale
            agrees = np.sqrt(np.mean(away**2)) < within
            self._agreed_s[i] = self._agreed_s[i] + dt if agrees else 0.0
            if self._agreed_s[i] >= AGREES_S:
                return model
        return None


def _norm(force: Array) -> float:
    return sqrt(force.dot(force))
