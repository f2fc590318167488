# SPDX-License-Identifier: Apache-2.0
"""A robot in 3-D: its links, past and wanted positions, plan, external force and payload."""

from __future__ import annotations

from collections import deque
from typing import Any

import mujoco
import numpy as np
import viser
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.sim.appearance import paint
from metarl_robot.view.links import Links
from metarl_robot.view.moment import FORCE_SCALE_M_N, Moment

Array = NDArray[np.float64]

_TRAIL = 150  # points
_TRAIL_EVERY = 2  # moments: only the newest end of a trail changes
_LEAST_GROWTH = 0.02  # of the payload's ball
_ACTUAL, _REFERENCE, _PLAN = (220, 60, 40), (30, 150, 110), (60, 110, 230)
_FORCE, _CARRIED = (230, 30, 120), (242, 158, 33)
_GRID: Any = {"cell_color": (45, 45, 45), "section_color": (65, 65, 65), "fade_distance": 15.0}
_HEAD: Any = {"head_radius": 0.025, "head_length": 0.05, "shaft_radius": 0.01}


class RobotScene:
    """Draws one robot on a server.

    Arguments:
        server: of the page.
        robot: the robot; its q is the position of its MuJoCo model.
    """

    def __init__(self, server: viser.ViserServer, robot: Robot) -> None:
        spec = robot.mj_spec()
        paint(spec)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._links = Links(server, self._model)
        size = float(self._model.stat.extent)
        thick = 0.004 * size
        self._past: tuple[deque[Array], deque[Array]] = deque(maxlen=_TRAIL), deque(maxlen=_TRAIL)
        scene = server.scene
        scene.add_grid("/floor", width=20.0, height=20.0, position=(0.0, 0.0, -1e-3), **_GRID)
        self._trails = (_line(scene, "/reference", _REFERENCE, thick), _line(scene, "/actual", _ACTUAL, thick))
        self._plan = _line(scene, "/plan", _PLAN, 2.0 * thick)
        self._target = scene.add_icosphere("/target", radius=0.015 * size, color=_REFERENCE, visible=False)
        self._carried = scene.add_icosphere("/carried", radius=1.0, color=_CARRIED, opacity=0.6, visible=False)
        self._radius, self._shown = 1.0, 0
        self._force = scene.add_arrows("/force", np.zeros((1, 2, 3)), _FORCE, visible=False, **_HEAD)
        _look_from(server, size)
        self.pose(robot.home)

    def pose(self, q: Array) -> None:
        """Move the links to q (nq,)."""
        self._data.qpos[:] = q
        mujoco.mj_kinematics(self._model, self._data)
        self._links.show(self._data)

    def show(self, moment: Moment) -> None:
        """Draw a moment; the trails grow by a point."""
        self.pose(moment.q)
        for trail, past, point in zip(
            self._trails, self._past, (moment.position_reference_m, moment.position_m), strict=True
        ):
            if point is not None:
                past.append(point)
                if self._shown % _TRAIL_EVERY == 0:
                    _draw(trail, np.array(past))
        self._shown += 1
        _draw(self._plan, moment.plan_m)
        _place(self._target, moment.position_reference_m)
        self._show_force(moment)
        self._show_carried(moment)

    def forget(self) -> None:
        """Begin new trails."""
        for past in self._past:
            past.clear()

    def _show_force(self, moment: Moment) -> None:
        if moment.force is not None and moment.pushes:
            turn = self._data.site(moment.force.site).xmat.reshape(3, 3)
            end = moment.position_m + FORCE_SCALE_M_N * turn @ moment.force.force_n
            self._force.points = np.array([[moment.position_m, end]], np.float32)
        self._force.visible = moment.pushes

    def _show_carried(self, moment: Moment) -> None:
        """A ball of the estimated mass."""
        radius = moment.carried_radius_m
        self._carried.visible = radius > 0.0
        if self._carried.visible:
            self._carried.position = moment.position_m
            if abs(radius - self._radius) > _LEAST_GROWTH * radius:
                self._carried.scale = self._radius = radius


def _line(scene: Any, name: str, colour: tuple[int, int, int], thickness: float) -> Any:
    return scene.add_line_segments(name, np.zeros((1, 2, 3)), colour, thickness=thickness, visible=False)


def _draw(line: Any, points: Array | None) -> None:
    """Show a polyline through points (K, 3); with fewer than two, nothing."""
    line.visible = points is not None and len(points) > 1
    if points is not None and len(points) > 1:
        line.points = np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)


def _place(ball: Any, place: Array | None) -> None:
    ball.visible = place is not None
    if place is not None:
        ball.position = place


def _look_from(server: viser.ViserServer, size: float) -> None:
    """Where a new visitor's camera stands."""
    server.initial_camera.position = (1.1 * size, 1.1 * size, 0.8 * size)
    server.initial_camera.look_at = (0.0, 0.0, 0.3 * size)
