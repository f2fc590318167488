# SPDX-License-Identifier: Apache-2.0
"""A controller in your own loop or simulator: here plain MuJoCo; half the rated payload is attached at 2 s.

    python examples/01_own_loop.py [ROBOT] [CONTROLLER]        default: panda meta_mpc

The loop is the same for real hardware: read positions and velocities from your driver and send efforts to it, once per
control period. A learned controller loads the weights in the robot's folder; for others, use mr.make_controller(...,
checkpoint=Path("my.safetensors")).
"""

import sys

import mujoco
import numpy as np

import metarl_robot as mr
from metarl_robot.trajectories.euclidean import random_tracking

robot_name, controller_name = (*sys.argv[1:], *("panda", "meta_mpc")[len(sys.argv) - 1 :])
robot = mr.load_robot(robot_name)
controller = mr.make_controller(robot, controller_name)
reference = random_tracking(robot, np.random.default_rng(0), duration_s=6.0)

model = mujoco.MjModel.from_xml_path(str(robot.model_path))
data = mujoco.MjData(model)
data.qpos[:] = reference.sample(np.zeros(1)).q[0]
steps_per_command = round(robot.control_period_s / model.opt.timestep)

for k in range(round(6.0 / robot.control_period_s)):
    time = k * robot.control_period_s
    if k == round(2.0 / robot.control_period_s):
        model.body_mass[-1] += robot.description.payload.rated_mass_kg / 2
    command = controller.step(time, mr.State(data.qpos.copy(), data.qvel.copy()), reference)
    data.ctrl[:] = command.effort
    mujoco.mj_step(model, data, nstep=steps_per_command)
    if k % round(0.5 / robot.control_period_s) == 0:
        error = np.abs(reference.sample(np.array([data.time])).q[0] - data.qpos).max()
        print(f"{time:4.1f} s   largest joint error {1e3 * error:7.3f} mrad   {command.status.value}", end="")
        if "payload_mass_kg" in command.context.names:
            mass, std = command.context["payload_mass_kg"]
            print(f"   payload {mass:5.2f} ± {std:.2f} kg", end="")
        print()
