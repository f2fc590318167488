# SPDX-License-Identifier: Apache-2.0
"""The tree of frames puts each body where MuJoCo has it, and sends only what has changed."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

pytest.importorskip("mjviser", reason="needs the extra [view]")

from metarl_robot.core.robot import load_robot
from metarl_robot.view import LOCALHOST
from metarl_robot.view.links import Links
from metarl_robot.view.page import serve


@pytest.mark.parametrize("name", ["panda", "x500", "f1tenth"])
def test_frames_compose_to_the_poses_of_the_bodies(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_robot(name, check_model=False)
    model = robot.mj_spec().compile()
    data, rng = mujoco.MjData(model), np.random.default_rng(3)
    server = serve(LOCALHOST, 8151)
    try:
        links = Links(server, model)
        for _ in range(5):
            data.qpos[:] = robot.home
            step = rng.normal(0.0, 0.4, model.nv)
            mujoco.mj_integratePos(model, data.qpos, step, 1.0)
            mujoco.mj_kinematics(model, data)
            links.show(data)
            places, turns = [np.zeros(3)], [np.array([1.0, 0.0, 0.0, 0.0])]
            for body in range(1, model.nbody):
                place, turn, parent = np.empty(3), np.empty(4), model.body_parentid[body]
                frame = links._frames[body]
                mujoco.mju_mulPose(place, turn, places[parent], turns[parent], frame.position, frame.wxyz)
                places.append(place)
                turns.append(turn)
            np.testing.assert_allclose(places, data.xpos, atol=1e-3)
            assert np.abs(np.sum(turns * data.xquat, axis=1)).min() > 1.0 - 1e-6
        sent: list[object] = []
        monkeypatch.setattr(server.scene, "_queue_scene_message", sent.append)
        links.show(data)
        assert sent == []
        data.qpos[-1] += 0.1
        mujoco.mj_kinematics(model, data)
        links.show(data)
        assert 1 <= len(sent) <= 2
    finally:
        server.stop()
