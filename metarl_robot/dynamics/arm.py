"""Nominal dynamics of an arm, ready to call: inverse dynamics, momentum form, payload regressor, kinematics."""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiled import NumpyFunction, compile_functions
from metarl_robot.dynamics.rigid_body import N_INERTIAL, RigidBodyTree
from metarl_robot.robot import Robot

Array = NDArray[np.float64]

_CHUNK = 64


class ArmDynamics:
    """Numeric twin of `RigidBodyTree` for one robot. Not to be shared between threads.

    Arguments:
        robot: the arm.
        knots: how many states the batched functions `efforts` and `efforts_with_jacobian` take at once.
    """

    def __init__(self, robot: Robot, knots: int = _CHUNK) -> None:
        self.dof = robot.dof
        self.knots = knots
        compiled = compile_functions(_functions(RigidBodyTree(robot.mj_model, robot.payload_site), knots))
        self._chunk = NumpyFunction(compiled["chunk"], _CHUNK)
        self._regressor_chunk = NumpyFunction(compiled["regressor_chunk"], _CHUNK)
        self._momentum_chunk = NumpyFunction(compiled["momentum_chunk"], _CHUNK)
        self._knots = NumpyFunction(compiled["knots"], knots)
        self._knots_jacobian = NumpyFunction(compiled["knots_jacobian"], knots)
        self._momentum = NumpyFunction(compiled["momentum"])
        self._regressor = NumpyFunction(compiled["regressor"])
        self._kinematics = NumpyFunction(compiled["kinematics"])

    def inverse_dynamics(self, q: Array, v: Array, a: Array, payload: Array | None = None) -> Array:
        """Efforts [Nm] M a + h for (n,) or (N, n) states; payload (10,) inertial parameters at the payload site."""
        pi = np.zeros(N_INERTIAL) if payload is None else payload
        (efforts,) = _in_chunks(self._chunk, np.atleast_2d(q), np.atleast_2d(v), np.atleast_2d(a), pi)
        return efforts.reshape(np.shape(q))

    def mass_matrix(self, q: Array) -> Array:
        """M (n, n) of the robot without payload, armature included."""
        return self._momentum(q, np.zeros(self.dof))[0].copy()

    def bias(self, q: Array, v: Array) -> Array:
        """h(q, v) (n,) [Nm]: Coriolis, centrifugal, gravity, nominal damping."""
        return self.inverse_dynamics(q, v, np.zeros(self.dof))

    def momentum(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """M (n, n), p = M v (n,) and β (n,), where ṗ = τ + β + Δ. Overwritten by the next call."""
        mass, momentum, beta = self._momentum(q, v)
        return mass, momentum, beta

    def momenta(self, q: Array, v: Array) -> tuple[Array, Array, Array]:
        """`momentum` for (N, n) states: (N, n, n), (N, n), (N, n)."""
        mass, momentum, beta = _in_chunks(self._momentum_chunk, q, v)
        return mass, momentum, beta

    def payload_regressor(self, q: Array, v: Array, a: Array) -> Array:
        """Y (n, 10) with Y π the payload's share of the inverse dynamics. Overwritten by the next call."""
        return self._regressor(q, v, a)[0]

    def payload_regressors(self, q: Array, v: Array, a: Array) -> Array:
        """`payload_regressor` for (N, n) states: (N, n, 10)."""
        return _in_chunks(self._regressor_chunk, q, v, a)[0]

    def efforts(self, q: Array, v: Array, a: Array, payload: Array) -> Array:
        """Inverse dynamics at `knots` states (knots, n) in one call. Overwritten by the next call."""
        return self._knots(q, v, a, payload)[0]

    def efforts_with_jacobian(self, q: Array, v: Array, a: Array, payload: Array) -> tuple[Array, Array]:
        """Inverse dynamics (knots, n) and its Jacobian (knots, n, 3n) by (q, v, a). Overwritten by the next call."""
        efforts, jacobian = self._knots_jacobian(q, v, a, payload)
        return efforts, jacobian

    def forward_kinematics(self, q: Array) -> tuple[Array, Array]:
        """Payload site: position (3,) [m; base], rotation (3, 3) site→base."""
        position, rotation, _ = self._kinematics(q)
        return position.copy(), rotation.copy()

    def site_jacobian(self, q: Array) -> Array:
        """Geometric Jacobian (6, n) of the payload site, [linear; angular] in base axes."""
        return self._kinematics(q)[2].copy()


def _functions(tree: RigidBodyTree, knots: int) -> dict[str, ca.Function]:
    n = tree.dof
    q, v, a, pi = (ca.SX.sym(name, size) for name, size in (("q", n), ("v", n), ("a", n), ("pi", N_INERTIAL)))
    effort = tree.inverse_dynamics(q, v, a, pi)
    mass, momentum, beta = tree.momentum(q, v)
    site = tree.site_kinematics(q)
    regressor = ca.jacobian(tree.payload_effort(q, v, a, pi), pi)
    dynamics = ca.Function("dynamics", [q, v, a, pi], [effort])
    jacobian = ca.Function("dynamics_jacobian", [q, v, a, pi], [effort, ca.densify(ca.jacobian(effort, ca.vertcat(q, v, a)))])
    momentum_form = ca.Function("momentum", [q, v], [ca.densify(mass), momentum, beta])
    payload = ca.Function("regressor", [q, v, a], [ca.densify(regressor)])
    return {
        "chunk": _map("chunk", dynamics, _CHUNK),
        "regressor_chunk": _map("regressor_chunk", payload, _CHUNK),
        "momentum_chunk": _map("momentum_chunk", momentum_form, _CHUNK),
        "knots": _map("knots", dynamics, knots),
        "knots_jacobian": _map("knots_jacobian", jacobian, knots),
        "momentum": momentum_form,
        "regressor": payload,
        "kinematics": ca.Function("kinematics", [q], [ca.densify(x) for x in (site.position, site.rotation, site.jacobian)]),
    }


def _map(name: str, function: ca.Function, count: int) -> ca.Function:
    arguments = [ca.MX.sym(f"x{i}", function.size1_in(i), count) for i in range(function.n_in())]
    return ca.Function(name, arguments, function.map(count).call(arguments))


def _in_chunks(function: NumpyFunction, *arguments: Array) -> list[Array]:
    """Call a `_CHUNK`-wide function on (N, …) arrays; (k,) arguments are shared by all N."""
    count = max(len(x) for x in arguments if x.ndim == 2)
    parts: list[list[Array]] = []
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        padded = [x if x.ndim == 1 else np.resize(x[start : start + size], (_CHUNK, x.shape[1])) for x in arguments]
        parts.append([out[:size].copy() for out in function(*padded)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
