# SPDX-License-Identifier: Apache-2.0
"""Nominal dynamics of an arm in numbers: inverse dynamics, momentum form, payload regressor, kinematics."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiled import NumpyFunction, compile_functions
from metarl_robot.compile.knots import Knots, compile_knots, in_chunks
from metarl_robot.core.robot import Robot
from metarl_robot.dynamics.euclidean import EuclideanPosition
from metarl_robot.dynamics.momentum_balance import Balanced, balance_function
from metarl_robot.dynamics.rigid_body import N_INERTIAL, RigidBodyTree
from metarl_robot.robots.payload import payload_site

Array = NDArray[np.float64]

_CHUNK = 64
_NOTHING: Array = np.zeros(N_INERTIAL)


class ArmDynamics(EuclideanPosition, Balanced):
    """Numeric twin of `RigidBodyTree` for one robot. Not to be shared between threads.

    Arguments:
        robot: the arm.
        knots: number of states per call of `efforts`, `attached_efforts` (at most) and their Jacobians.
    """

    def __init__(self, robot: Robot, knots: int = _CHUNK) -> None:
        self.dof, self.nu = robot.dof, robot.nu
        self._identity = np.eye(robot.dof)
        self.knots = knots
        functions, many = _functions(robot)
        compiled = compile_functions(functions)
        self._momentum = NumpyFunction(compiled["momentum"])
        self._momentum_regressor = NumpyFunction(compiled["momentum_regressor"])
        self._regressor = NumpyFunction(compiled["regressor"])
        self._kinematics = NumpyFunction(compiled["kinematics"])
        self._take_balance(compiled["balance"])
        chunks = {
            f"{name}_chunk": Knots(many[name], _CHUNK)
            for name in ("effort", "regressor", "momentum", "momentum_regressor")
        }
        plans = {name: Knots(many[name], knots) for name in ("effort", "effort_jacobian")}
        shares = {name: Knots(many[name], knots, shared=(3,)) for name in ("attached_effort", "attached_jacobian")}
        self._many = compile_knots({**chunks, **plans, **shares})

    def inverse_dynamics(self, q: Array, v: Array, a: Array, payload: Array | None = None) -> Array:
        """Efforts M a + h [Nm] for states (n,) or (N, n).

        payload: (10,) inertial parameters at the payload site.
        """
        states = np.atleast_2d(q), np.atleast_2d(v), np.atleast_2d(a)
        (efforts,) = in_chunks(self._many["effort_chunk"], _CHUNK, *states)
        if payload is not None:
            efforts = efforts + self.attached_regressors(*states) @ payload
        return efforts.reshape(np.shape(q))

    def mass_matrix(self, q: Array) -> Array:
        """Mass matrix M (n, n) of the robot without payload, armature included."""
        return self._momentum(q, np.zeros(self.dof), _NOTHING)[0].copy()

    def bias(self, q: Array, v: Array) -> Array:
        """Bias force h(q, v) (n,) [Nm]: Coriolis, centrifugal, gravity, nominal damping."""
        return self.inverse_dynamics(q, v, np.zeros(self.dof))

    def accelerations(self, q: Array, v: Array, force: Array) -> Array:
        """Accelerations M⁻¹ (f - h) (N, n) under generalised forces f (N, n), at states (N, n)."""
        missing = force - self.inverse_dynamics(q, v, np.zeros_like(q))
        mass = self.momentum(q[0], v[0])[0] if len(q) == 1 else self.momenta(q, v)[0]  # one costs less alone
        return np.asarray(np.linalg.solve(mass, missing[:, :, None])[:, :, 0])

    def momentum(self, q: Array, v: Array, payload: Array | None = None) -> tuple[Array, Array, Array]:
        """Mass matrix M (n, n), momentum p = M v (n,) and β (n,), with ṗ = τ + β + Δ.

        Overwritten by the next call.
        """
        mass, momentum, beta = self._momentum(q, v, _NOTHING if payload is None else payload)
        return mass, momentum, beta

    def momenta(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """Results of `momentum` without payload for (N, n) states: (N, n, n), (N, n), (N, n)."""
        mass, momentum, beta = in_chunks(self._many["momentum_chunk"], _CHUNK, q, v)
        return mass, momentum, beta

    def attached_momentum_regressor(self, q: Array, v: Array) -> tuple[Array, Array]:
        """Regressors Y_p and Y_β (n, 10): the payload π adds Y_p π to p and Y_β π to β.

        Overwritten by the next call.
        """
        by_momentum, by_beta = self._momentum_regressor(q, v)
        return by_momentum, by_beta

    def attached_momentum_regressors(self, q: Array, v: Array) -> tuple[Array, Array]:
        """Results of `attached_momentum_regressor` for (N, n) states: two of (N, n, 10)."""
        by_momentum, by_beta = in_chunks(self._many["momentum_regressor_chunk"], _CHUNK, q, v)
        return by_momentum, by_beta

    def attached_regressor(self, q: Array, v: Array, a: Array) -> Array:
        """Regressor Y (n, 10): the payload π adds Y π to the inverse dynamics. Overwritten by the next call."""
        return self._regressor(q, v, a)[0]

    def attached_forces(self, q: Array, v: Array, a: Array, effort: Array, attached: Array) -> Array:
        """Generalised forces (N, n) that stand for an attached body in the nominal equation of motion."""
        return np.asarray(-self.attached_regressors(q, v, a) @ attached)

    def attached_regressors(self, q: Array, v: Array, a: Array) -> Array:
        """Results of `attached_regressor` for (N, n) states: (N, n, 10)."""
        return in_chunks(self._many["regressor_chunk"], _CHUNK, q, v, a)[0]

    def input_map(self, q: Array) -> Array:
        """Input map B (n, n): identity, because an arm's generalised force is its effort."""
        return self._identity

    def input_forces(self, q: Array, effort: Array) -> Array:
        """Generalised forces (N, n) of efforts (N, n)."""
        return effort

    def efforts(self, q: Array, v: Array, a: Array) -> Array:
        """Inverse dynamics at `knots` states (knots, n) in one call. Overwritten by the next call."""
        return self._many["effort"](q, v, a)[0]

    def efforts_jacobian(self, q: Array, v: Array, a: Array) -> Array:
        """Jacobian (knots, n, 3n) of the inverse dynamics by (q, v, a). Overwritten by the next call."""
        return self._many["effort_jacobian"](q, v, a)[0]

    def attached_efforts(self, q: Array, v: Array, a: Array, payload: Array) -> Array:
        """Effort Y π (N ≤ knots, n) that the payload adds to the inverse dynamics. Overwritten by the next call."""
        return self._many["attached_effort"](q, v, a, payload)[0][: len(q)]

    def attached_jacobian(self, q: Array, v: Array, a: Array, payload: Array) -> Array:
        """Jacobian (N ≤ knots, n, 3n) of `attached_efforts` by (q, v, a). Overwritten by the next call."""
        return self._many["attached_jacobian"](q, v, a, payload)[0][: len(q)]

    def forward_kinematics(self, q: Array) -> tuple[Array, Array]:
        """Pose of the payload site: position (3,) [m; base], rotation (3, 3) site→base."""
        position, rotation, _ = self._kinematics(q)
        return position.copy(), rotation.copy()

    def site_jacobian(self, q: Array) -> Array:
        """Geometric Jacobian (6, n) of the payload site, [linear; angular] in base axes."""
        return self._kinematics(q)[2].copy()


@lru_cache(maxsize=8)
def _functions(robot: Robot) -> tuple[dict[str, ca.Function], dict[str, ca.Function]]:
    """Functions of one state, and of many states; cached for further controllers of this robot."""
    tree = RigidBodyTree(robot.mj_model, payload_site(robot))
    n = tree.dof
    q, v, a, pi = (ca.SX.sym(name, size) for name, size in (("q", n), ("v", n), ("a", n), ("pi", N_INERTIAL)))
    state = ca.vertcat(q, v, a)
    effort = tree.inverse_dynamics(q, v, a, ca.SX.zeros(N_INERTIAL))
    share = tree.attached_effort(q, v, a, pi)
    _, p, beta = tree.momentum(q, v, pi)
    site = tree.site_kinematics(q)
    momentum_regressor = _function("momentum_regressor", [q, v], [ca.jacobian(p, pi), ca.jacobian(beta, pi)])
    regressor = _function("regressor", [q, v, a], [ca.jacobian(share, pi)])
    momentum = _function("momentum", [q, v, pi], tree.momentum(q, v, pi))
    single = {
        "momentum": momentum,
        "momentum_regressor": momentum_regressor,
        "regressor": regressor,
        "kinematics": _function("kinematics", [q], [site.position, site.rotation, site.jacobian]),
        "balance": balance_function(momentum, lambda q, change: q + change, lambda q: ca.SX.eye(n)),
    }
    many = {
        "effort": _function("effort", [q, v, a], [effort]),
        "effort_jacobian": _function("effort_jacobian", [q, v, a], [ca.jacobian(effort, state)]),
        "attached_effort": _function("attached_effort", [q, v, a, pi], [share]),
        "attached_jacobian": _function("attached_jacobian", [q, v, a, pi], [ca.jacobian(share, state)]),
        "momentum": _function("bare_momentum", [q, v], tree.momentum(q, v, ca.SX.zeros(N_INERTIAL))),
        "momentum_regressor": momentum_regressor,
        "regressor": regressor,
    }
    return single, many


def _function(name: str, arguments: list[ca.SX], results: Iterable[ca.SX]) -> ca.Function:
    return ca.Function(name, arguments, [ca.densify(result) for result in results])
