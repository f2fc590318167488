# SPDX-License-Identifier: Apache-2.0
"""What an identification changed, as plain data: each parameter before and after, with its standard error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.logs.base_parameters import base_parameters
from metarl_robot.logs.identify import Identified

Array = NDArray[np.float64]

SHOWN = 0.7
"""The motion shows a parameter if its standard error is below this share of the prior's."""
OF_BODY = (
    *(("mass", "kg"), ("centre_x", "m"), ("centre_y", "m"), ("centre_z", "m")),
    *((f"inertia_{axes}", "kg m²") for axes in ("xx", "yy", "zz", "xy", "xz", "yz")),
)
"""Mass, centre of mass in the link's frame, inertia about it in the link's axes."""
_SYMMETRIC = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])
_PACKED = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])


def document(found: Identified) -> dict[str, Any]:
    """Everything that was found.

    Returns {"robot", "held_out", "links", "joints", "delay", "base", …}. A parameter is {"name", "unit", "before",
    "after", "standard_error", "sigmas", "shown"}; sigmas: its change over the standard error.
    """
    problem, robot = found.problem, found.problem.robot
    before = _spread(problem.std**2 * np.eye(len(found.z)), problem.jacobian(problem.start))
    after = found.x_covariance
    links = [
        {"name": link.name, "parameters": _body(found, i, before, after)}
        for i, link in enumerate(problem.regressor.links)
    ]
    joints = [
        {"name": name, "parameters": _joint(found, j, before, after), "moving_s": found.moving_s[j]}
        for j, name in enumerate(robot.channel_names)
    ]
    base = base_parameters(robot, problem.regressor, problem.layout)
    nominal, x = base.matrix @ (problem.nominal + problem.values(problem.start)), base.matrix @ found.x
    armature = _armature(found) @ base.matrix[:, problem.layout.of("armature")].T
    spread = [np.sqrt(np.diagonal(base.matrix @ each @ base.matrix.T)) for each in (before, after)]
    start = base.matrix @ problem.values(problem.start)
    values = zip(base.names, nominal + armature, nominal + armature + x - start, *spread, strict=True)
    delay = problem.layout.delay
    return {
        "robot": robot.name,
        "held_out": [vars(fold) for fold in found.folds],
        "over_nominal": found.over_nominal(robot.effort_limit),
        "parameters": len(found.z),
        "determined": found.determined,
        "links": links,
        "joints": joints,
        "delay": _parameter(
            ("delay", "s"), problem.start[delay], found.z[delay], problem.std[delay], np.sqrt(after[delay, delay])
        ),
        "base": [_parameter((name, ""), b, a, s_b, s_a) for name, b, a, s_b, s_a in values],
    }


def _armature(found: Identified) -> Array:
    return np.array(found.problem.robot.mj_model.dof_armature, dtype=np.float64).reshape(-1)


def _body(found: Identified, i: int, before: Array, after: Array) -> list[dict[str, Any]]:
    at, nominal, x = found.problem.layout.link(i), found.problem.nominal, found.x
    bodies = nominal[at], nominal[at] + x[at]
    spread = [
        np.sqrt(np.diagonal(_spread(covariance[at, at], _jacobian(of))))
        for covariance, of in ((before, bodies[0]), (after, bodies[1]))
    ]
    values = zip(OF_BODY, body_quantities(bodies[0]), body_quantities(bodies[1]), *spread, strict=True)
    return [_parameter(*each) for each in values]


def _joint(found: Identified, j: int, before: Array, after: Array) -> list[dict[str, Any]]:
    problem, layout = found.problem, found.problem.layout
    damping = np.array(problem.robot.mj_model.dof_damping, dtype=np.float64).reshape(-1)
    zero = {"armature": _armature(found)[j], "viscous": damping[j], "strength": 1.0}
    units = {"armature": "kg m²", "viscous": "Nm s", "coulomb": "Nm", "strength": "", "offset": "Nm"}
    made = []
    for name, unit in units.items():
        k = layout.of(name).start + j
        offset, spread = zero.get(name, 0.0), (float(np.sqrt(before[k, k])), float(np.sqrt(after[k, k])))
        made.append(_parameter((name, unit), offset + problem.start[k], offset + found.z[k], *spread))
    return made


def _parameter(of: tuple[str, str], before: float, after: float, prior: float, error: float) -> dict[str, Any]:
    return {
        "name": of[0],
        "unit": of[1],
        "before": float(before),
        "after": float(after),
        "standard_error": float(error),
        "sigmas": float((after - before) / error),
        "shown": bool(error < SHOWN * prior),
    }


def body_quantities(parameters: Array) -> Array:
    """Values (10,) of OF_BODY."""
    mass, centre, inertia = parameters[0], parameters[1:4] / parameters[0], parameters[4:][_SYMMETRIC]
    about = inertia - mass * (centre @ centre * np.eye(3) - np.outer(centre, centre))
    return np.concatenate([[mass], centre, about[_PACKED]])


def _jacobian(parameters: Array) -> Array:
    """∂(body_quantities) / ∂π (10, 10), by central differences."""
    steps = 1e-6 * np.diag(np.maximum(np.abs(parameters), 1e-3))
    columns = [
        (body_quantities(parameters + step) - body_quantities(parameters - step)) / (2.0 * step.sum()) for step in steps
    ]
    return np.stack(columns, axis=1).reshape(N_INERTIAL, N_INERTIAL)


def _spread(covariance: Array, jacobian: Array) -> Array:
    return np.asarray(jacobian @ covariance @ jacobian.T)
