# SPDX-License-Identifier: Apache-2.0
"""Regressors of the inertial parameters of a robot's links, in momentum form, for identification.

The links' ten parameters π (rigid_body.py) enter momentum and force linearly: p = Y_p π + …, β = Y_β π + …. A link is
the body that a joint moves, with all bodies that are fixed to it, in the frame of that body.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.knots import Knots, compile_knots, in_chunks
from metarl_robot.core.errors import RobotError
from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.dynamics.rigid_body import N_INERTIAL, RigidBodyTree

Array = NDArray[np.float64]

LIGHTEST_KG = 1e-6
"""Lighter links, such as the bodies between two joints of one link, have no inertia worth knowing."""
_CHUNK = 64
_SITE = "frame of link {}"


@dataclass(frozen=True)
class Link:
    """name: of its body. body: its number. members: all bodies that are fixed to it, itself included."""

    name: str
    body: int
    members: tuple[int, ...]


def links_of(model: mujoco.MjModel) -> tuple[Link, ...]:
    """The moving links with a mass, in the order of their bodies."""
    found = []
    for body in range(1, model.nbody):
        members = tuple(i for i in range(1, model.nbody) if model.body_weldid[i] == body)
        if members and body == model.body_weldid[body] and model.body_mass[list(members)].sum() > LIGHTEST_KG:
            found.append(Link(model.body(body).name or f"body {body}", body, members))
    return tuple(found)


def link_parameters(model: mujoco.MjModel, link: Link) -> Array:
    """Inertial parameters (10,) of a link in the frame of its body."""
    total = np.zeros(N_INERTIAL)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    rotation, origin = data.xmat[link.body].reshape(3, 3), data.xpos[link.body]
    for member in link.members:
        mass, axes = float(model.body_mass[member]), rotation.T @ data.ximat[member].reshape(3, 3)
        centre = rotation.T @ (data.xipos[member] - origin)
        inertia = axes @ np.diag(model.body_inertia[member]) @ axes.T
        inertia += mass * (centre @ centre * np.eye(3) - np.outer(centre, centre))
        total += np.concatenate([[mass], mass * centre, inertia[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]])
    return total


class LinkRegressor:
    """Y_p and Y_β of all links of a robot with hinges and slides.

    Raises:
        RobotError: a body's weight is carried by something else than the motors (gravcomp).
    """

    def __init__(self, robot: MjcfRobot) -> None:
        spec = robot.mj_spec()
        added = [body.add_site(name=_SITE.format(i)) for i, body in enumerate(spec.bodies)]
        model = spec.compile()
        sites = {int(model.site_bodyid[site.id]): site.name for site in added}
        if np.any(model.body_gravcomp * model.body_mass):
            raise RobotError(f"{robot.model_path}: gravcomp: links whose weight is carried cannot be identified")
        self.links = links_of(model)
        q, v, pi = (ca.SX.sym(name, size) for name, size in (("q", model.nv), ("v", model.nv), ("pi", N_INERTIAL)))
        by_momentum, by_beta = [], []
        for link in self.links:
            _, momentum, beta = RigidBodyTree(model, sites[link.body]).momentum(q, v, pi)
            by_momentum.append(ca.jacobian(momentum, pi))
            by_beta.append(ca.jacobian(beta, pi))
        outputs = [ca.densify(ca.horzcat(*each)) for each in (by_momentum, by_beta)]
        function = ca.Function("link_regressor", [q, v], outputs)
        self._many = compile_knots({"regressor": Knots(function, _CHUNK)})["regressor"]

    def __call__(self, q: Array, v: Array) -> tuple[Array, Array]:
        """Y_p and Y_β (N, n, 10 L) at states (N, n)."""
        by_momentum, by_beta = in_chunks(self._many, _CHUNK, q, v)
        return by_momentum, by_beta
