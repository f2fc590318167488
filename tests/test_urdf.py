# SPDX-License-Identifier: Apache-2.0
"""The URDF of a robot, loaded by MuJoCo, is the robot: frames, masses, limits, shapes."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.urdf import urdf_of
from metarl_robot.core.urdf_frames import LinkFrames, Placed

ODD = """<mujoco model="odd">
  <compiler angle="radian" autolimits="true"/>
  <worldbody>
    <body name="column" pos="0.1 -0.2 0.3" euler="0.3 1.5707963267948966 0.2">
      <inertial mass="2" pos="0.02 0.03 0.04" fullinertia="0.03 0.04 0.05 0.004 0.005 0.006"/>
      <joint name="shoulder" pos="0.05 0.06 -0.07" axis="1 2 -1" range="-3 3" damping="0.3" armature="0.01"/>
      <geom type="box" size="0.1 0.2 0.3" pos="0.1 0 0" mass="0"/>
      <body name="bracket" pos="0.1 0.2 0" quat="0.5 -0.5 0.5 0.5">
        <inertial mass="0.5" pos="0 0 0.1" diaginertia="0.001 0.002 0.0025"/>
        <body name="fore" pos="0.2 0 0.1" euler="-1.2 0.4 2">
          <inertial mass="1" pos="0.15 0 0" diaginertia="0.0105 0.0075 0.0175"/>
          <joint name="elbow" pos="-0.03 0 0.02" axis="0 1 0" range="-2.6 2.6" armature="0.02"/>
          <geom type="cylinder" size="0.03 0.1" contype="0" conaffinity="0" mass="0"/>
          <geom type="sphere" size="0.04" pos="0.3 0 0" mass="0"/>
          <site name="tip" pos="0.3 0.01 0" euler="0.1 0.2 0.3"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="shoulder" joint="shoulder" ctrlrange="-40 40"/>
    <motor name="elbow" joint="elbow" ctrlrange="-20 20"/>
  </actuator>
</mujoco>
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    """Joints away from their bodies' origins, a fixed body between two joints, frames in gimbal lock."""
    folder = tmp_path_factory.mktemp("robots") / "odd"
    copytree(load_robot("planar2").folder, folder)
    for name in folder.glob("*.json"):
        name.unlink()
    (folder / "robot.xml").write_text(ODD)
    (folder / "robot.yaml").write_text((folder / "robot.yaml").read_text().replace("planar2", "odd", 1))
    return load_robot(folder)


def compiled(robot: Robot) -> mujoco.MjModel:
    """MuJoCo's reading of the URDF, with links as bodies also where they are fixed."""
    text = urdf_of(robot)
    head = '<mujoco><compiler fusestatic="false" balanceinertia="false"/></mujoco>'
    return mujoco.MjModel.from_xml_string(text.replace("</robot>", f"{head}</robot>"))


def arms(odd: Robot) -> list[Robot]:
    return [load_robot("panda"), load_robot("planar2"), odd]


def test_frames_and_mass_matrix_are_those_of_the_mjcf_at_random_positions(odd: Robot) -> None:
    rng = np.random.default_rng(1000)
    for robot in arms(odd):
        model, urdf = robot.mj_model, compiled(robot)
        ours, theirs = mujoco.MjData(model), mujoco.MjData(urdf)
        assert [urdf.joint(k).name for k in range(urdf.njnt)] == list(robot.channel_names)
        for _ in range(20):
            q, v = rng.uniform(robot.position_lower, robot.position_upper), rng.normal(size=robot.dof)
            for each, data in ((model, ours), (urdf, theirs)):
                data.qpos[:], data.qvel[:] = q, v
                mujoco.mj_forward(each, data)
            for site in range(model.nsite):
                link = theirs.body(model.site(site).name)
                assert np.allclose(ours.site_xpos[site], link.xpos, atol=1e-9)
                assert np.allclose(ours.site_xmat[site], link.xmat, atol=1e-9)
            for body in range(1, model.nbody):
                link = theirs.body(model.body(body).name)
                assert np.allclose(ours.xmat[body], link.xmat, atol=1e-9)
                assert np.allclose(ours.xipos[body], link.xipos, atol=1e-9) or model.body_mass[body] == 0.0
            assert np.allclose(mass_matrix(model, ours) - np.diag(model.dof_armature), mass_matrix(urdf, theirs))
            assert np.allclose(ours.qfrc_bias, theirs.qfrc_bias, atol=1e-8)  # gravity, Coriolis and centrifugal


def mass_matrix(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    full = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, full)
    return full


def test_limits_and_damping_are_those_of_the_robot(odd: Robot) -> None:
    for robot in arms(odd):
        joints = {joint.get("name"): joint for joint in ElementTree.fromstring(urdf_of(robot)).iter("joint")}
        for k, name in enumerate(robot.channel_names):
            limit = joints[name].find("limit")
            assert limit is not None and float(limit.get("effort", "")) == robot.effort_limit[k]
            assert float(limit.get("velocity", "")) == robot.velocity_limit[k]
            assert float(limit.get("lower", "")) == robot.mj_model.jnt_range[k][0]
            assert float(joints[name].find("dynamics").get("damping")) == robot.mj_model.dof_damping[k]


@pytest.mark.parametrize("name", ["panda", "planar2", "x500", "crazyflie", "husky", "f1tenth"])
def test_every_robot_has_one_root_which_is_its_base_frame(name: str) -> None:
    robot = load_robot(name)
    root = ElementTree.fromstring(urdf_of(robot))
    links = [link.get("name") for link in root.iter("link")]
    children = [child.get("link") for child in root.iter("child")]
    assert len(set(links)) == len(links) == len(children) + 1
    assert set(links) - set(children) == {robot.base_frame}
    mass = sum(float(each.get("value", "")) for each in root.iter("mass"))
    assert mass == pytest.approx(float(np.sum(robot.mj_model.body_mass)), rel=1e-12)
    compiled(robot)


def test_shapes_are_shown_and_those_that_collide_collide(odd: Robot) -> None:
    root = ElementTree.fromstring(urdf_of(odd))
    shown = [shape.tag for link in root.iter("visual") for shape in link.find("geometry") or ()]
    collide = [shape.tag for link in root.iter("collision") for shape in link.find("geometry") or ()]
    assert sorted(shown) == ["box", "cylinder", "sphere"] and sorted(collide) == ["box", "sphere"]


def test_meshes_are_where_they_were(tmp_path: Path, odd: Robot) -> None:
    """MuJoCo moves a mesh's own frame to its centre of mass; the URDF's origin is that of the file."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]]) * 0.1
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    folder = tmp_path / "odd"
    copytree(odd.folder, folder)
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    (folder / "wedge.obj").write_text("\n".join(lines))
    geom = '<geom type="mesh" mesh="wedge" pos="0.1 0.2 0.3" euler="0.3 0.2 0.1" mass="0"/>'
    text = ODD.replace("<worldbody>", '<asset><mesh name="wedge" file="wedge.obj"/></asset><worldbody>')
    (folder / "robot.xml").write_text(text.replace('<site name="tip"', geom + '<site name="tip"'))
    robot = load_robot(folder)
    model, urdf = robot.mj_model, urdf_of(robot)
    (shown,) = [each for each in ElementTree.fromstring(urdf).iter("visual") if each.find("geometry/mesh") is not None]
    assert (shown.find("geometry/mesh")).get("filename") == (folder / "wedge.obj").resolve().as_uri()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    (number,) = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)
    vertices = model.mesh_vert @ data.geom_xmat[number].reshape(3, 3).T + data.geom_xpos[number]
    roll, pitch, yaw = (float(x) for x in shown.find("origin").get("rpy").split())
    place = np.array([float(x) for x in shown.find("origin").get("xyz").split()])
    turn = rotation_of(yaw, 2) @ rotation_of(pitch, 1) @ rotation_of(roll, 0)
    body = int(model.geom_bodyid[number])
    frame, origin = data.xmat[body].reshape(3, 3), data.xpos[body]
    anchor = model.jnt_pos[model.body_jntadr[body]]  # the link's frame is at its joint
    expected = (corners @ turn.T + place + anchor) @ frame.T + origin
    near = np.linalg.norm(vertices[:, None] - expected[None], axis=2).min(axis=1)
    assert near.max() < 1e-6


def rotation_of(angle: float, axis: int) -> np.ndarray:
    a, b = [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[[a, b], [a, b]] = np.cos(angle)
    sign = -1.0 if axis == 1 else 1.0
    turn[a, b], turn[b, a] = -sign * np.sin(angle), sign * np.sin(angle)
    return turn


def in_root(frames: list[Placed], root: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Position and rotation matrix of every link, in the root's frame."""
    found = {root: (np.zeros(3), np.eye(3))}
    while len(found) <= len(frames):
        for parent, child, position, attitude in frames:
            if parent in found:
                place, turn = found[parent]
                found[child] = place + turn @ position, turn @ rotation.to_matrix(attitude)
    return found


def test_frames_of_links_are_mujoco_s_of_the_same_urdf(odd: Robot) -> None:
    rng = np.random.default_rng(1000)
    for robot in [*arms(odd), load_robot("husky")]:
        model, links = compiled(robot), LinkFrames(urdf_of(robot))
        data = mujoco.MjData(model)
        for _ in range(5):
            data.qpos[:] = rng.uniform(-2.0, 2.0, model.nq)
            mujoco.mj_kinematics(model, data)
            positions = {model.joint(k).name: float(data.qpos[k]) for k in range(model.njnt)}
            frames = in_root([*links.fixed, *links.moving(positions)], robot.base_frame)
            for name, (place, turn) in frames.items():
                if name == robot.base_frame:
                    continue
                assert np.allclose(place, data.body(name).xpos, atol=1e-9)
                assert np.allclose(turn.ravel(), data.body(name).xmat, atol=1e-9)
