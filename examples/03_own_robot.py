# SPDX-License-Identifier: Apache-2.0
"""Your own robot: a folder with robot.xml (MJCF) and robot.yaml, checked against each other on loading.

    python examples/03_own_robot.py [FOLDER]        writes the two files (default: my_arm), loads them, moves the arm

Every command that takes a robot's name also takes such a folder: `metarl eval my_arm --controllers
pid,computed_torque`.
"""

import sys
from pathlib import Path

import numpy as np

import metarl_robot as mr

# Explicit inertias: they are the nominal model of the controllers. One motor per joint, in joint order. The payload
# attaches at the site.
MJCF = """
<mujoco model="my_arm">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.001" integrator="implicitfast"/>
  <worldbody>
    <body name="turret" pos="0 0 0.2">
      <joint name="turn" axis="0 0 1" range="-3 3" damping="0.2" armature="0.05"/>
      <inertial pos="0 0 0.1" mass="2.0" diaginertia="0.02 0.02 0.01"/>
      <geom type="cylinder" size="0.06 0.1" pos="0 0 0.1"/>
      <body name="boom" pos="0 0 0.2">
        <joint name="lift" axis="0 1 0" range="-1.5 1.5" damping="0.2" armature="0.05"/>
        <inertial pos="0.2 0 0" mass="1.5" diaginertia="0.002 0.02 0.02"/>
        <geom type="capsule" size="0.03" fromto="0 0 0 0.4 0 0"/>
        <site name="hook" pos="0.4 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="turn" ctrlrange="-20 20"/>
    <motor joint="lift" ctrlrange="-40 40"/>
  </actuator>
</mujoco>
"""

DESCRIPTION = """
name: my_arm
kind: arm
description: turret with a boom, rated payload 2 kg
base_frame: base
control_rate_hz: 200
payload: {site: hook, rated_mass_kg: 2.0}
joints:
  - {name: turn, position_rad: [-3.0, 3.0], velocity_rad_s: 3.0, effort_nm: 20, effort_rate_nm_s: 1000, home_rad: 0.0}
  - {name: lift, position_rad: [-1.5, 1.5], velocity_rad_s: 3.0, effort_nm: 40, effort_rate_nm_s: 1000, home_rad: -0.3}
"""

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "my_arm")
folder.mkdir(parents=True, exist_ok=True)
(folder / "robot.xml").write_text(MJCF)
(folder / "robot.yaml").write_text(DESCRIPTION)

robot = mr.load_robot(folder)
undisturbed = mr.simulation(robot).scenario("nominal", "undisturbed", seed=0)
run = mr.run_episode(robot, lambda _: mr.make_controller(robot, "computed_torque"), undisturbed)
effort = np.abs(run.log.effort / robot.effort_limit).max()
print(f"{robot.name}: {robot.dof} joints, followed its reference to {1e3 * run.result.rmse_after_m:.2f} mm")
print(f"with at most {100 * effort:.0f} % of an effort limit")
