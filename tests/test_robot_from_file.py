# SPDX-License-Identifier: Apache-2.0
"""A robot folder from a URDF or MJCF moves as MuJoCo moves the file; what cannot is refused with a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.urdf import urdf_of
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.from_file.inertias import nearest_inertia
from metarl_robot.robots.new_robot.findings import Origin
from metarl_robot.robots.new_robot.folder import write_folder
from metarl_robot.robots.new_robot.made import NewRobot, convert
from metarl_robot.robots.new_robot.options import Options
from metarl_robot.sim.arm.robot_check import dynamics_differences
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.robot_check import DYNAMICS_BOUND
from tests import new_arms
from tests.robot_files import joint, link, mjcf, replaced, urdf, with_gripper

Array = NDArray[np.float64]

SIX = tuple(f"axis_{i}" for i in range(1, 7))
FOUR = ("turn", "lift", "bend", "roll")
NONE = Options()
HAND = {"left_finger_joint": 0.0, "right_finger_joint": 0.06}


@dataclass(frozen=True)
class Case:
    """A file that is converted. held: positions of the other joints. says: parts of the findings. limits: of efforts.

    own_weight: its motors compensate gravity, which then is part of the commands.
    """

    text: str
    driven: tuple[str, ...] = FOUR
    held: Mapping[str, float] = field(default_factory=dict)
    options: Options = NONE
    says: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()
    own_weight: bool = False
    gravity: tuple[float, float, float] | None = None


def motors(*lines: str) -> str:
    """The four-joint arm with other actuators."""
    text = mjcf()
    start, end = text.index("<actuator>") + len("<actuator>"), text.index("</actuator>")
    return text[:start] + "\n".join(lines) + text[end:]


def each(element: str) -> str:
    return motors(*(element.replace("NAME", name) for name in FOUR))


def inertia_of_link_5(values: str) -> str:
    """The six-joint arm with another inertia of a link: ixx iyy izz ixy."""
    xx, yy, zz, xy = values.split()
    inertia = f'<inertia ixx="{xx}" iyy="{yy}" izz="{zz}" ixy="{xy}" ixz="0" iyz="0"/>'
    text = re.sub(r'(<mass value="0.8"/>)<inertia [^>]*/>', r"\1" + inertia, urdf())
    assert inertia in text
    return text


WRIST = '<joint name="roll" class="wrist" axis="1 0 0" range="-170 170"/>'
TILTED = (3.0, 0.0, -9.0)

CASES = {
    "urdf: missing meshes, mimic hand": Case(
        urdf(), SIX, HAND, says=("upper.stl", "line", "frictionloss 0.3"), limits=(150, 150, 100, 40, 30, 20)
    ),
    "urdf: held hand by option": Case(
        urdf(), SIX, {"left_finger_joint": 0.02, "right_finger_joint": 0.04}, Options(lock={"left_finger_joint": 0.02})
    ),
    "urdf: held arm joint": Case(urdf(), (*SIX[:2], *SIX[3:]), HAND | {"axis_3": 0.7}, Options(lock={"axis_3": 0.7})),
    "urdf: some joints": Case(
        urdf(), SIX[1:4], HAND | dict.fromkeys((SIX[0], *SIX[4:]), 0.0), Options(joints=("axis_2", "axis_3", "axis_4"))
    ),
    "urdf: continuous": Case(
        replaced(urdf(), ('"axis_4" type="revolute"', '"axis_4" type="continuous"')),
        SIX,
        HAND,
        says=("turns without end", "within (-π, π]"),
    ),
    "urdf: prismatic": Case(replaced(urdf(), ('"axis_1" type="revolute"', '"axis_1" type="prismatic"')), SIX, HAND),
    "urdf: skew axis": Case(
        replaced(urdf(), ('<axis xyz="1 0 0"/><limit lower="-2.6"', '<axis xyz="1 2 -1"/><limit lower="-2.6"')),
        SIX,
        HAND,
    ),
    "urdf: simulator's elements": Case(
        replaced(
            urdf(), ("</robot>", '<gazebo><plugin name="p" filename="x.so"/></gazebo><transmission name="t"/></robot>')
        ),
        SIX,
        HAND,
    ),
    "urdf: no effort and no velocity": Case(
        replaced(urdf(), ('effort="40" velocity="2.5"', 'effort="0" velocity="0"')),
        SIX,
        HAND,
        says=("three times the weight",),
    ),
    "urdf: fixed heavy tool": Case(
        replaced(
            urdf(),
            (
                '<link name="tool0"/>',
                '<link name="tool0"/>' + link("camera", 0.7) + joint("mount", "tool0", "camera", "0 0 1", "fixed"),
            ),
        ),
        SIX,
        HAND,
    ),
    "urdf: upside down": Case(urdf(), SIX, HAND, Options(gravity=(0.0, 0.0, 9.81)), gravity=(0.0, 0.0, 9.81)),
    "urdf: upper limit alone": Case(
        replaced(urdf(), ('<limit lower="-2.6" upper="2.6" effort="40"', '<limit upper="2.6" effort="40"')),
        SIX,
        HAND,
        says=("0 … 2.6 rad",),
    ),
    "urdf: implausible inertia": Case(
        re.sub(
            r'(<mass value="0.8"/>)<inertia [^>]*/>',
            r'\1<inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/>',
            urdf(),
        ),
        SIX,
        HAND,
        says=("link 'link_5' has the inertia of a mass 1.1 m",),
    ),
    "urdf: settings for MuJoCo": Case(
        replaced(urdf(), ("</robot>", '<mujoco><compiler balanceinertia="true"/></mujoco></robot>')),
        SIX,
        HAND,
        says=("<mujoco> (line",),
    ),
    "urdf: names that YAML reads as something else": Case(
        replaced(urdf(), ('"axis_1"', '"yes"'), ('"axis_2"', '"1e3"'), ('"axis_3"', '"a:b"'), ('"axis_4"', '"null"')),
        ("yes", "1e3", "a:b", "null", *SIX[4:]),
        HAND,
    ),
    "mjcf: motors": Case(mjcf(), limits=(60, 80, 40, 8)),
    "mjcf: gear": Case(
        each('<motor joint="NAME" gear="50" ctrlrange="-1 1"/>'), says=("gear times gain 50",), limits=(50, 50, 50, 50)
    ),
    "mjcf: negative gear": Case(each('<motor joint="NAME" gear="-50" ctrlrange="-1 1"/>'), limits=(50, 50, 50, 50)),
    "mjcf: position servos": Case(
        each('<position joint="NAME" kp="200" kv="10" ctrlrange="-90 90" forcerange="-45 45"/>'),
        says=("position servo",),
        limits=(45, 45, 45, 45),
    ),
    "mjcf: position servos without force limit": Case(
        each('<position joint="NAME" kp="200" ctrlrange="-90 90"/>'), says=("position servo", "three times the weight")
    ),
    "mjcf: velocity servos": Case(
        each('<velocity joint="NAME" kv="20" ctrlrange="-2 2" gear="2" forcerange="-30 30"/>'),
        says=("velocity servo", "1 rad/s"),
        limits=(60, 60, 60, 60),
    ),
    "mjcf: integrated velocity": Case(
        each('<intvelocity joint="NAME" kp="20" actrange="-9 9" forcerange="-30 30"/>'), says=("velocity servo",)
    ),
    "mjcf: general with gain and lag": Case(
        each('<general joint="NAME" gainprm="20" dyntype="filter" dynprm="0.02" ctrlrange="-2 2"/>'),
        says=("gear times gain 20", "lag"),
        limits=(40, 40, 40, 40),
    ),
    "mjcf: armature and damping of actuators": Case(
        each('<motor joint="NAME" gear="10" armature="0.002" damping="0.01" ctrlrange="-5 5"/>'), says=("armature 0.2",)
    ),
    "mjcf: late commands": Case(
        each('<motor joint="NAME" delay="0.01" nsample="8" ctrlrange="-50 50"/>'), says=("lag or delay",)
    ),
    "mjcf: two motors on a joint": Case(
        motors(*(f'<motor joint="{n}" ctrlrange="-30 30"/>' for n in (*FOUR, "lift"))),
        says=("2 actuators",),
        limits=(30, 60, 30, 30),
    ),
    "mjcf: ctrlrange below the force": Case(
        each('<motor joint="NAME" ctrlrange="-25 30" forcerange="-70 70"/>'), limits=(25, 25, 25, 25)
    ),
    "mjcf: joint's force range below": Case(
        mjcf((WRIST, WRIST.replace("/>", ' actuatorfrcrange="-5 6"/>'))), limits=(60, 80, 40, 5)
    ),
    "mjcf: no actuators": Case(motors(), says=("three times the weight",)),
    "mjcf: friction loss": Case(
        mjcf(('<joint name="lift"', '<joint name="lift" frictionloss="0.7"')), says=("frictionloss 0.7",)
    ),
    "mjcf: springs and reference": Case(
        mjcf(
            ('<joint name="lift"', '<joint name="lift" stiffness="12" springref="-30" ref="20"'),
            ('range="-100 60"', 'range="-80 80"'),
        )
    ),
    "mjcf: gravity compensation": Case(
        mjcf(
            ('<body name="boom"', '<body name="boom" gravcomp="0.8"'),
            ('<body name="palm"', '<body name="palm" gravcomp="1"'),
        ),
        says=("gravcomp",),
    ),
    "mjcf: gravity compensation by motors": Case(
        mjcf(
            ('<body name="fore"', '<body name="fore" gravcomp="1"'),
            ('<joint armature="0.05"', '<joint armature="0.05" actuatorgravcomp="true"'),
        ),
        says=("part of the commands",),
        own_weight=True,
    ),
    "mjcf: two joints of one body": Case(
        mjcf(
            (WRIST, WRIST + '<joint name="swing" axis="0 0 1" pos="0.01 0.02 0" range="-80 80"/>'),
            ("</actuator>", '<motor joint="swing" ctrlrange="-8 8"/></actuator>'),
        ),
        (*FOUR, "swing"),
    ),
    "mjcf: the first of two joints held": Case(
        mjcf(
            (WRIST, WRIST + '<joint name="swing" axis="0 0 1" pos="0.01 0.02 0" range="-80 80"/>'),
            ("</actuator>", '<motor joint="swing" ctrlrange="-8 8"/></actuator>'),
        ),
        (*FOUR[:3], "swing"),
        {"roll": 0.6},
        Options(lock={"roll": 0.6}),
    ),
    "mjcf: the last of two joints held": Case(
        mjcf((WRIST, WRIST + '<joint name="swing" axis="0 0 1" pos="0.01 0.02 0" range="-80 80"/>')),
        FOUR,
        {"swing": -0.4},
        Options(lock={"swing": -0.4}),
    ),
    "mjcf: slide": Case(
        mjcf(
            (
                '<joint name="bend" axis="0 1 0" range="-20 140"/>',
                '<joint name="bend" type="slide" axis="1 0 0.2" pos="0 0.1 0" range="-0.1 0.3"/>',
            )
        )
    ),
    "mjcf: turns without end": Case(
        mjcf((WRIST, WRIST.replace(' range="-170 170"', ' limited="false"'))), says=("turns without end",)
    ),
    "mjcf: hand with tendon and equality": Case(
        with_gripper(), FOUR, {"slide_a": 0.0, "slide_b": 0.001}, says=("'split'", "drives no driven joint")
    ),
    "mjcf: keyframe": Case(
        replaced(
            with_gripper(),
            ("</mujoco>", '<keyframe><key name="home" qpos="0.1 -0.5 1 0.2 0.03 0.01"/></keyframe></mujoco>'),
        ),
        FOUR,
        {"slide_a": 0.03, "slide_b": 0.031},
        says=("keyframe 'home'",),
    ),
    "mjcf: inertia from geoms": Case(
        mjcf(
            ('<inertial mass="0.4" pos="0.03 0 0" diaginertia="0.0004 0.0006 0.0006"/>', ""),
            ('fromto="0 0 0 0.05 0 0" mass="0"', 'fromto="0 0 0 0.05 0 0" density="2000"'),
        ),
        says=("from the geoms of: palm",),
    ),
    "mjcf: missing mesh": Case(
        mjcf(
            ("<worldbody>", '<asset><mesh name="shell" file="no.stl"/></asset><worldbody>'),
            ('<geom type="capsule"', '<geom type="mesh" mesh="shell"/><geom type="capsule"'),
        ),
        says=("no.stl",),
    ),
    "mjcf: an object beside the arm": Case(
        mjcf(("<worldbody>", '<worldbody><body name="cup" pos="1 0 0"><freejoint/><geom size="0.03"/></body>')),
        says=("'cup'",),
    ),
    "mjcf: tilted": Case(mjcf(), options=Options(gravity=TILTED), gravity=TILTED),
    "mjcf: other gravity": Case(mjcf(("<default>", '<option gravity="1 0 -8"/><default>'))),
    "mjcf: contacts, sensors and cameras": Case(
        mjcf(
            ('fromto="0 0 0 0.05 0 0" mass="0"', 'fromto="0 0 0 0.05 0 0" mass="0" contype="1"'),
            ("</mujoco>", '<sensor><jointpos joint="turn"/></sensor></mujoco>'),
            ("<worldbody>", '<worldbody><camera pos="0 0 3"/>'),
        ),
        says=("left out: 1 sensors, 1 cameras, contacts of geoms",),
    ),
    "mjcf: air": Case(mjcf(("<default>", '<option density="1.2" viscosity="0.01"/><default>')), says=("air",)),
    "mjcf: names that are taken": Case(
        mjcf(('name="palm"', 'name="payload"'), ('name="attachment_site"', 'name="cable"'))
    ),
    "mjcf: other options": Case(
        mjcf(),
        options=Options(
            payload_kg=0.9, rate_hz=250, home="0.1", velocity="1,1,2,bad".replace("bad", "3"), effort="roll=6"
        ),
        limits=(60, 80, 40, 6),
        says=("0.9 kg", "250 Hz"),
    ),
}


def made_from(tmp_path: Path, text: str, options: Options = NONE) -> tuple[NewRobot, Robot]:
    path = tmp_path / ("source.urdf" if "<robot" in text else "source.xml")
    path.write_text(text, encoding="utf-8")
    made = convert("arm", path, "mine", options)
    write_folder(tmp_path / "mine", made.files, load_robot)
    return made, load_robot(tmp_path / "mine")


def guessed_armatures(made: NewRobot) -> dict[str, float]:
    """Guessed armatures by joint, as the report says them."""
    found = (each for each in made.findings.values if each.what == "armature" and each.origin is Origin.GUESS)
    return {each.of: float(each.value.split()[0]) for each in found}


def with_guesses(model: mujoco.MjModel, made: NewRobot) -> mujoco.MjModel:
    """The source's model with the guessed armatures."""
    for name, armature in guessed_armatures(made).items():
        model.dof_armature[model.joint(name).dofadr[0]] = armature
    return model


def mujocos_own(case: Case) -> mujoco.MjModel:
    """MuJoCo's model of the source, with nothing of ours: friction, contacts, limits and air switched off."""
    text = case.text.replace('<mesh filename="package://nobody_has_this/upper.stl"/>', '<sphere radius="0.01"/>')
    text = text.replace('<mesh name="shell" file="no.stl"/>', "").replace('<geom type="mesh" mesh="shell"/>', "")
    spec = mujoco.MjSpec.from_string(text)
    spec.compiler.fusestatic = False
    model = spec.compile()
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    model.opt.density = model.opt.viscosity = 0.0
    if case.gravity is not None:
        model.opt.gravity[:] = case.gravity
    if case.own_weight:
        model.body_gravcomp[:] = 0.0
    return model


def required_effort(case: Case, model: mujoco.MjModel, q: Array, v: Array, a: Array) -> Array:
    """Effort of the source's driven joints, the held ones at rest."""
    data = mujoco.MjData(model)
    for name, value in case.held.items():
        data.joint(name).qpos[:] = value
    for name, *values in zip(case.driven, q, v, a, strict=True):
        data.joint(name).qpos[0], data.joint(name).qvel[0], data.joint(name).qacc[0] = values
    mujoco.mj_inverse(model, data)
    return np.array([data.joint(name).qfrc_inverse[0] for name in case.driven])


def random_states(robot: Robot, count: int = 8) -> list[tuple[Array, Array, Array]]:
    rng = np.random.default_rng(7)
    draw = rng.uniform
    return [
        (
            draw(robot.position_lower, robot.position_upper),
            draw(-robot.velocity_limit, robot.velocity_limit),
            draw(-3.0, 3.0, robot.dof),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", CASES)
def test_commands_move_the_new_robot_as_efforts_move_the_source(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    made, robot = made_from(tmp_path, case.text, case.options)
    assert robot.channel_names == case.driven
    if case.limits:
        np.testing.assert_allclose(robot.effort_limit, case.limits)
    said = " | ".join([*made.findings.changes, *made.findings.warnings, *map(str, made.findings.values)])
    for part in case.says:
        assert part in said
    source, model = with_guesses(mujocos_own(case), made), robot.mj_model
    model.actuator_ctrllimited[:] = 0  # that any acceleration is possible; the limits are looked at above
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    data = mujoco.MjData(model)
    for q, v, a in random_states(robot):
        effort = required_effort(case, source, q, v, a)
        data.qpos[:], data.qvel[:], data.ctrl[:] = q, v, effort
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.qacc, a, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["urdf: missing meshes, mimic hand", "mjcf: springs and reference", "mjcf: slide"])
def test_the_nominal_model_is_that_of_the_source(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    made, robot = made_from(tmp_path, case.text, case.options)
    source, dynamics = with_guesses(mujocos_own(case), made), ArmDynamics(robot)
    for q, v, a in random_states(robot):
        expected = required_effort(case, source, q, v, a)
        np.testing.assert_allclose(dynamics.inverse_dynamics(q, v, a), expected, rtol=1e-7, atol=1e-7)


def test_a_held_joint_matters(tmp_path: Path) -> None:
    """The reference of the test above would notice another position of a held joint."""
    case = CASES["urdf: held arm joint"]
    _, robot = made_from(tmp_path, case.text, case.options)
    other = Case(case.text, case.driven, {**case.held, "axis_3": 0.6})
    q, v, a = random_states(robot, 1)[0]
    efforts = [required_effort(each_case, mujocos_own(each_case), q, v, a) for each_case in (case, other)]
    assert np.abs(efforts[0] - efforts[1]).max() > 0.1


def test_units_follow_the_joints(tmp_path: Path) -> None:
    _, robot = made_from(tmp_path, CASES["mjcf: slide"].text)
    assert robot.coordinates.q[1:3] == ("lift/position_rad", "bend/position_m")
    assert robot.coordinates.effort[2] == "bend/effort_n"
    np.testing.assert_allclose((robot.position_lower[2], robot.position_upper[2]), (-0.1, 0.3))


def test_meshes_are_found_and_drawn(tmp_path: Path) -> None:
    package = tmp_path / "somewhere" / "nobody_has_this"
    package.mkdir(parents=True)
    facets = np.zeros(4, np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")]))
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], np.float32)
    facets["v"] = corners[[[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]]
    (package / "upper.stl").write_bytes(bytes(80) + np.uint32(4).tobytes() + facets.tobytes())
    made, robot = made_from(tmp_path, urdf(), Options(mesh_dirs=(tmp_path / "somewhere",)))
    assert [name for name in made.files if name.startswith("meshes/")] != []
    assert robot.mj_model.nmesh == 1
    assert not any("upper.stl" in warning for warning in made.findings.warnings)


AXIS_4 = '<axis xyz="1 0 0"/><limit lower="-2.6"'
PALM = '<inertial mass="0.4" pos="0.03 0 0" diaginertia="0.0004 0.0006 0.0006"/>'
LIFT = '<joint name="lift"'
MOVES = '<limit lower="-3" upper="3" effort="5" velocity="1"/>'
RODS = "".join(
    link(f"rod_link_{i}", 0.3)
    + joint(f"rod_{i}", f"link_{i}", f"rod_link_{i}", "0 1 0", more=MOVES + f'<mimic joint="axis_{i}"/>')
    for i in range(1, 7)
)


def of_kind(number: int, kind: str) -> tuple[str, str]:
    """A change of the six-joint arm: the type of a joint."""
    return f'"axis_{number}" type="revolute"', f'"axis_{number}" type="{kind}"'


def ending(text: str) -> tuple[str, str]:
    """A change of the four-joint arm: elements at its end."""
    return "</mujoco>", f"{text}</mujoco>"


def tendon(attributes: str) -> tuple[str, str]:
    joints = "".join(f'<joint joint="{name}" coef="1"/>' for name in ("lift", "bend"))
    return ending(f'<tendon><fixed name="t"{attributes}>{joints}</fixed></tendon>')


SECOND_ARM = link("b", 1.0) + joint(
    "b_1", "pedestal", "b", "0 1 0", more='<limit lower="-1" upper="1" effort="9" velocity="1"/>'
)


LIMIT_4 = '<limit lower="-2.6" upper="2.6" effort="40"'

REFUSED = {
    "inertia of no body": (
        inertia_of_link_5("0.1 0.01 0.01 0"),
        r"line \d+: link 'link_5' has the inertia of no body: principal moments 0.01, 0.01, 0.1 .*--repair-inertias",
    ),
    "inertia that is not positive": (inertia_of_link_5("0.1 0.1 0.1 0.3"), "line .*'link_5'.*moments -0.2, 0.1, 0.4"),
    "no inertia": (inertia_of_link_5("0 0 0 0"), r"line \d+: .*mass and inertia.*'link_5'"),
    "limits upside down": (
        replaced(urdf(), (LIMIT_4, '<limit lower="2.6" upper="-2.6" effort="40"')),
        r"line \d+: joint 'axis_4' has the limits \[2.6, -2.6\]; lower must be below upper",
    ),
    "limits that are a point": (replaced(urdf(), (LIMIT_4, '<limit lower="0" upper="0" effort="40"')), "'fixed'"),
    "degrees": (
        replaced(urdf(), (LIMIT_4, '<limit lower="-180" upper="180" effort="40"')),
        r"joint 'axis_4' \(line \d+\): .*are they in degrees",
    ),
    "text for a number": (replaced(urdf(), ('<mass value="0.8"/>', '<mass value="heavy"/>')), "line .*given: 'heavy'"),
    "a name twice": (replaced(urdf(), ('name="axis_3"', 'name="axis_2"')), "line .*joint 'axis_2' is given twice"),
    "a link that is not there": (
        replaced(urdf(), ('<child link="link_3"/>', '<child link="elbow"/>')),
        "line .*joint 'axis_3' has the child 'elbow', which is no link",
    ),
    "two parents": (
        replaced(urdf(), ("</robot>", joint("more", "link_2", "link_5", "0 0 1", "fixed") + "</robot>")),
        "line .*link 'link_5' is the child of two joints",
    ),
    "a name with a space": (replaced(urdf(), ('"axis_3"', '"axis 3"')), r"joint 'axis 3' \(line \d+\): .*rename it"),
    "a macro": (
        replaced(urdf(), ("<robot name", '<robot xmlns:xacro="x" name'), ("</robot>", "<xacro:arm/></robot>")),
        "macro.*xacro source",
    ),
    "floating": (replaced(urdf(), of_kind(1, "floating")), "line .*'axis_1' is of type 'floating'.*revolute"),
    "no limits": (
        replaced(urdf(), ('<limit lower="-2.6" upper="2.6" effort="40" velocity="2.5"/>', "")),
        "line .*'axis_4'.*no limits.*continuous",
    ),
    "no mass": (
        replaced(urdf(), ('<mass value="0.8"/>', '<mass value="0"/>')),
        "link 'link_5'.*has no mass.*<inertial>, or hold the joint: --lock axis_5=VALUE",
    ),
    "impossible inertia": (replaced(urdf(), ('ixx="0.02683"', 'ixx="0.9"')), "inertia of no body"),
    "not a number": (replaced(urdf(), ('<mass value="0.8"/>', '<mass value="nan"/>')), "line .*mass: value: .*finite"),
    "two roots": (replaced(urdf(), ("</robot>", link("lost", 1.0) + "</robot>")), "there are 2.*lost.*fixed joints"),
    "an arm's joint copies another": (
        replaced(urdf(), (AXIS_4, '<mimic joint="axis_2"/>' + AXIS_4)),
        "joint 'axis_4' .line.*'axis_2' is driven; hold the copy with --lock axis_4",
    ),
    "every joint of an arm is copied, as by the rods of a palletiser": (
        replaced(urdf(), ("</robot>", RODS + "</robot>")),
        "joint 'rod_1' .line.*'axis_1' is driven; hold the copy with --lock rod_1=VALUE",
    ),
    "two arms": (
        replaced(urdf(), ("</robot>", SECOND_ARM + "</robot>"), *(of_kind(i, "fixed") for i in range(2, 7))),
        "chains of 1 joints begin at 'axis_1', 'b_1'; name the joints of one arm with --joints",
    ),
    "free base": (
        mjcf(('<body name="stand" pos="0.1 0 0.2" euler="0 0 30">', '<body name="stand"><freejoint name="fly"/>')),
        "joint 'fly' .line.*base is fixed",
    ),
    "ball": (
        mjcf((WRIST, '<joint name="roll" type="ball"/>'), ('<motor name="m4" joint="roll" ctrlrange="-8 8"/>', "")),
        "'roll' .line.*ball",
    ),
    "driven joints coupled": (
        mjcf(ending('<equality><joint name="c" joint1="roll" joint2="bend"/></equality>')),
        "equality 'c' .line.*couples.*--lock roll",
    ),
    "a loop": (
        mjcf(ending('<equality><connect name="c" body1="palm" body2="turret" anchor="0 0 0"/></equality>')),
        "closes a loop between 'palm' and 'turret'",
    ),
    "a spring between joints": (
        mjcf(tendon(' stiffness="5"')),
        "tendon 't' .line.*stiffness",
    ),
    "a motor of two joints": (
        mjcf(tendon(""), ("</actuator>", '<motor name="both" tendon="t"/></actuator>')),
        "actuator 'both' .line.*motor of its own",
    ),
    "a muscle": (each('<muscle joint="NAME" lengthrange="0.1 1"/>'), "is a muscle"),
    "one way only": (
        each('<motor name="NAME_m" joint="NAME" ctrlrange="0 50"/>'),
        "actuator 'turn_m' .line.*both directions",
    ),
    "damping by a polynomial": (mjcf((LIFT, LIFT + ' damping="1 0.5"')), "joint 'lift' .line.*not linear"),
    "a yielding spring": (mjcf((LIFT, LIFT + ' stiffness="3" springyield="1"')), "spring yields"),
    "half compensated": (
        mjcf(('<body name="fore"', '<body name="fore" gravcomp="1"'), (LIFT, LIFT + ' actuatorgravcomp="true"')),
        "only some of the driven joints have actuatorgravcomp",
    ),
    "gravity off": (
        mjcf(("<default>", '<option><flag gravity="disable"/></option><default>')),
        "gravity is switched off",
    ),
    "mesh that has the inertia": (
        mjcf(
            ("<worldbody>", '<asset><mesh name="shell" file="no.stl"/></asset><worldbody>'),
            (PALM, '<geom type="mesh" mesh="shell"/>'),
        ),
        "'palm' has its inertia from it",
    ),
    "mesh that has the inertia beside an inertial that does not count": (
        mjcf(
            ("<worldbody>", '<asset><mesh name="shell" file="no.stl"/></asset><worldbody>'),
            (PALM, f'{PALM}<geom type="mesh" mesh="shell"/><geom size="0.05"/>'),
            ("<compiler ", '<compiler inertiafromgeom="true" '),
        ),
        "'palm' has its inertia from it",
    ),
    "range upside down": (
        mjcf(("<worldbody>", '<worldbody><body name="x"><joint name="odd" range="2 -2"/><geom size="1"/></body>')),
        "joint 'odd' has the range .*; the lower bound comes first",
    ),
    "actuators that are switched off": (
        mjcf(("<default>", '<option actuatorgroupdisable="0"/><default>')),
        "switched off by actuatorgroupdisable",
    ),
    "another format": ("<sdf/>", "first element is <sdf>; allowed: <robot>"),
    "no XML": ("robot", "not valid XML"),
    "nothing that moves": (
        '<mujoco><worldbody><body name="b"><geom size="1"/></body></worldbody></mujoco>',
        "no joint that can be driven",
    ),
    "empty": ("<mujoco/>", "has no body"),
}


def test_only_the_numbers_of_a_robot_are_numbers(tmp_path: Path) -> None:
    """Simulators add elements of their own, with a `value` that is a word."""
    _, robot = made_from(tmp_path, replaced(urdf(), ("</inertial>", '</inertial><verbose value="Yes"/>')))
    assert robot.dof == 6
    with pytest.raises(MetaRLError, match="mass: value: numbers must be finite.*'heavy'"):
        made_from(tmp_path, replaced(urdf(), ('<mass value="4.0"/>', '<mass value="heavy"/>')))


def test_a_guessed_effort_limit_of_the_last_joint_holds_the_guessed_payload_beside_its_axis(tmp_path: Path) -> None:
    """It bears no weight of the arm; by that alone it would get 0.1 Nm, and no motion with the payload is possible."""
    light = (*new_arms.SEVEN["masses"][:-1], 0.05)
    text = re.sub(r' effort="[\d.]+"', "", new_arms.urdf(light, new_arms.SEVEN["efforts"], new_arms.SEVEN["lengths"]))
    _, robot = made_from(tmp_path, text)
    weight_n = 9.81 * robot.description.payload.rated_mass_kg
    assert robot.effort_limit[-1] > 0.05 * weight_n
    assert robot.effort_limit[1] > 10.0 * robot.effort_limit[-1]


NAMES = ("origin", "axis", "limit", "inertial", "mass", "inertia", "xyz", "rpy", "lower", "upper", "izz", "ixy")


MISSPELT = {
    "doubled": [(name, name + name[-1]) for name in NAMES],
    "dropped": [(name, name[:-2] + name[-1]) for name in NAMES if len(name) > 3],
    "capital": [(name, name.upper()) for name in NAMES],
}


@pytest.mark.parametrize(("name", "wrong"), [pair for pairs in MISSPELT.values() for pair in pairs])
def test_a_misspelt_name_of_what_makes_the_dynamics_is_refused(name: str, wrong: str, tmp_path: Path) -> None:
    """URDF readers ignore what they do not know: an <orgin> places a joint at its parent."""
    text = re.sub(rf"(?<=[</ ]){name}(?=[ />=])", wrong, urdf())
    assert text != urdf()
    with pytest.raises(MetaRLError, match=rf"line \d+: .*'{wrong}', which is not read; write "):
        made_from(tmp_path, text)


def test_rotations_in_degrees_or_as_quaternions_are_refused(tmp_path: Path) -> None:
    for rotation in ('rpy="90 0 0"', 'rpy="0 -45 0"', 'rpy="0 0 0" quat_xyzw="0 0 0 1"'):
        text = re.sub(r'rpy="[^"]*"', rotation, urdf(), count=1)
        assert text != urdf()
        with pytest.raises(MetaRLError, match=r"line \d+: .*(rad, within a turn|quat_xyzw.*allowed: xyz, rpy)"):
            made_from(tmp_path, text)


def test_what_is_not_read_of_a_joint_is_said(tmp_path: Path) -> None:
    text = urdf().replace("<dynamics ", '<joint_properties/><dynamics spring_stiffness="20" ', 1)
    made, _ = made_from(tmp_path, text)
    assert any("dynamics: spring_stiffness, joint: joint_properties" in change for change in made.findings.changes)


def test_a_range_in_radians_that_is_read_as_degrees_is_doubted(tmp_path: Path) -> None:
    text = re.sub(r'range="(-?[\d.]+) (-?[\d.]+)"', 'range="-2 2"', mjcf())
    made, _ = made_from(tmp_path, text)
    assert any("0.07 rad only: an MJCF is in degrees" in warning for warning in made.findings.warnings)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_would_be_misread_is_refused_with_the_remedy(name: str, tmp_path: Path) -> None:
    text, why = REFUSED[name]
    with pytest.raises(MetaRLError, match=why) as caught:
        made_from(tmp_path, text)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (Options(joints=("turn", "elbow")), "unknown joint 'elbow'.*bend"),
        (Options(lock={"elbow": 0.0}), "unknown joint 'elbow'"),
        (Options(joints=("turn",), lock={"turn": 0.0}), "'turn' is in --joints and in --lock"),
        (Options(lock={"roll": 9.0}), r"--lock: roll: must be within .-2.96706, 2.96706.; given: 9"),
        (Options(flange="tip"), "unknown flange 'tip'.*attachment_site"),
        (Options(flange="stand"), "'stand': is on the fixed base"),
        (Options(home="9"), "--home: turn: must be within"),
        (Options(velocity="1,2"), "--velocity: expected one value, 4 values"),
        (Options(velocity="turn=fast"), "--velocity: expected a finite number; given: 'fast'"),
        (Options(effort="elbow=3"), "unknown joint 'elbow'"),
        (Options(position="turn=1"), "--position: expected LOWER:UPPER"),
        (Options(position="turn=1:-1"), "LOWER must be below UPPER"),
        (Options(effort="-1"), "effort_nm"),
        (Options(payload_kg=1e9), "rated_mass_kg"),
    ],
)
def test_a_wrong_option_is_answered_with_what_is_allowed(options: Options, why: str, tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=why):
        made_from(tmp_path, mjcf(), options)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("moments", [(0.0, 0.2, 0.2), (-1e-9, 0.2, 0.2), (0.1, 0.1, 0.2001), (0.0, 0.0, 1.0)])
def test_an_inertia_that_no_body_has_becomes_a_near_one_that_a_body_has(moments: tuple[float, ...]) -> None:
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    possible, change = nearest_inertia(axes @ np.diag(moments) @ axes.T)
    found = np.linalg.eigvalsh(possible)
    assert found[0] > 0.0 and found[0] + found[1] >= found[2]
    assert 0.0 < change == pytest.approx(np.max(found - np.sort(moments)) / found[2])
    assert nearest_inertia(possible)[1] == 0.0


@pytest.mark.parametrize(("mass", "inertia"), [("0.8", "0 0.002 0.002 0"), ("1e-6", "1e-6 1e-6 1e-6 1e-6")])
def test_an_inertia_rounded_to_zero_or_that_of_a_milligram_is_repaired_and_said(
    mass: str, inertia: str, tmp_path: Path
) -> None:
    text = inertia_of_link_5(inertia).replace('<mass value="0.8"/>', f'<mass value="{mass}"/>')
    made, robot = made_from(tmp_path, text)
    assert any("link 'link_5'" in change and "inertia of no body" in change for change in made.findings.changes)
    assert robot.dof == 6


def test_an_impossible_inertia_is_repaired_if_asked(tmp_path: Path) -> None:
    made, robot = made_from(tmp_path, inertia_of_link_5("0.1 0.01 0.01 0"), Options(repair_inertias=True))
    assert any("link 'link_5'" in change and "inertia of no body" in change for change in made.findings.changes)
    assert robot.dof == 6


def test_an_inertia_without_mass_acts_in_the_new_robot_and_in_the_nominal_model(tmp_path: Path) -> None:
    bare = '<mass value="0"/><inertia ixx="0.1" iyy="0.1" izz="0.1" ixy="0" ixz="0" iyz="0"/>'
    frame = f'<link name="frame"><inertial>{bare}</inertial></link>'
    frame += joint("held", "link_6", "frame", "0 0 1", "fixed")
    made, robot = made_from(tmp_path, replaced(urdf(), ("</robot>", frame + "</robot>")))
    assert any("'frame' has an inertia but no mass" in warning for warning in made.findings.warnings)
    assert max(dynamics_differences(robot)) <= DYNAMICS_BOUND
    (tmp_path / "again").mkdir()
    again, _ = made_from(tmp_path / "again", urdf_of(robot), Options(armature=",".join(["0.1"] * 6)))
    assert again.difference <= 1e-6


def test_a_link_without_mass_may_be_moved_by_a_joint_that_is_held(tmp_path: Path) -> None:
    weightless = replaced(urdf(), ('<mass value="0.8"/>', '<mass value="0"/>'))
    _, robot = made_from(tmp_path, weightless, Options(lock={"axis_5": 0.3}))
    assert robot.channel_names == ("axis_1", "axis_2", "axis_3", "axis_4", "axis_6")


def test_a_chain_longer_than_that_before_the_branch_is_an_arm_and_no_finger(tmp_path: Path) -> None:
    limit = '<limit lower="-1" upper="1" effort="60" velocity="1"/>'
    links = ["link_3", "b_1", "b_2", "b_3", "b_4"]
    second = "".join(
        link(child, 0.5) + joint(child, parent, child, "0 1 0", more=limit)
        for parent, child in zip(links, links[1:], strict=False)
    )
    _, robot = made_from(tmp_path, replaced(urdf(), ("</robot>", second + "</robot>")))
    assert set(robot.channel_names) == {"axis_1", "axis_2", "axis_3", *links[1:]}


def test_includes_are_read(tmp_path: Path) -> None:
    text = mjcf()
    start, end = text.index("  <actuator>"), text.index("</mujoco>")
    (tmp_path / "motors.xml").write_text(f"<mujoco>{text[start:end]}</mujoco>")
    _, robot = made_from(tmp_path, f'{text[:start]}<include file="motors.xml"/></mujoco>')
    assert robot.channel_names == FOUR
    np.testing.assert_allclose(robot.effort_limit, (60, 80, 40, 8))


@pytest.mark.parametrize(("armature", "limits"), [("0", (100.0, 1500.0)), ("0.5", (2000.0, 4000.0))])
def test_pid_gets_a_smaller_integral_where_the_payload_dominates(
    tmp_path: Path, armature: str, limits: tuple[float, float]
) -> None:
    """Without armature the wrist is lighter than the payload; with much of it, the usual gain is kept."""
    _, robot = made_from(tmp_path, urdf(), Options(payload_kg=1.9, armature=armature))
    config = load_config(robot, "pid").model_dump()
    assert limits[0] < config["ki"] <= limits[1] and config["kp"] == 1600.0


def test_an_armature_that_the_file_lacks_is_guessed_from_the_effort_limit_and_said(tmp_path: Path) -> None:
    made, robot = made_from(tmp_path, urdf())
    efforts = np.array([150, 150, 100, 40, 30, 20])
    np.testing.assert_allclose(robot.mj_model.dof_armature, efforts / 100.0)
    assert list(guessed_armatures(made).values()) == robot.mj_model.dof_armature.tolist()
    assert not any("effort limit" in warning for warning in made.findings.warnings)


@pytest.mark.parametrize("armature", ["0", "0.2"])
def test_an_armature_that_is_given_or_in_the_file_is_kept(tmp_path: Path, armature: str) -> None:
    made, robot = made_from(tmp_path, urdf(), Options(armature=armature))
    assert guessed_armatures(made) == {} and np.all(robot.mj_model.dof_armature == float(armature))
    made, robot = made_from(tmp_path, mjcf())
    assert guessed_armatures(made) == {}
    np.testing.assert_allclose(robot.mj_model.dof_armature, [0.05, 0.05, 0.05, 0.01])


@pytest.mark.parametrize(("times", "words"), [(30.0, "far more than"), (0.02, "less than")])
def test_effort_limits_that_are_no_motors_are_doubted(tmp_path: Path, times: float, words: str) -> None:
    usual, _ = made_from(tmp_path, urdf())
    efforts = ",".join(f"{times * effort:g}" for effort in (150, 150, 100, 40, 30, 20))
    made, _ = made_from(tmp_path, urdf(), Options(effort=efforts))
    assert sum(words in warning and "--effort" in warning for warning in made.findings.warnings) == 1
    shares = np.array(list(guessed_armatures(made).values())) / list(guessed_armatures(usual).values())
    assert np.ptp(shares) < 0.1 * shares.mean() and shares.max() < min(4.0, 1.1 * max(times, 0.02))


@pytest.mark.slow
def test_pid_stays_stable_with_the_rated_payload(tmp_path: Path) -> None:
    """With the usual ki of 4000 this run breaks limits in 5188 physics steps: 0.77 m of error before the change."""
    _, robot = made_from(tmp_path, urdf(), Options(payload_kg=1.9, armature="0"))
    run = run_episode(
        robot, lambda _: make_controller(robot, "pid"), simulation(robot).scenario("heldout", "drop", 1000)
    )
    assert run.result.rmse_before_m < 0.5 and run.result.violations == 0
