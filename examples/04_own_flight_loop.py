# SPDX-License-Identifier: Apache-2.0
"""A controller in your own quadrotor simulator: here plain MuJoCo; a payload of 20 % of the mass is attached at 4 s.

    python examples/04_own_flight_loop.py [ROBOT] [CONTROLLER] [--command thrusts|speeds|rates]

The default is x500 meta_mpc. State in: position and velocity in the world frame, quaternion wxyz (body to world), body
rates. Command out, as your simulator or autopilot needs it: rotor thrusts [N], rotor speeds [rad/s], or collective
thrust [N] and body rates [rad/s] for its own rate loop.
"""

import argparse

import mujoco
import numpy as np

import metarl_robot as mr
from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.command import collective_and_rates, rotor_speeds
from metarl_robot.robots.quadrotor.trajectories import FigureEight

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("robot", nargs="?", default="x500")
parser.add_argument("controller", nargs="?", default="meta_mpc")
parser.add_argument("--command", choices=("thrusts", "speeds", "rates"), default="thrusts")
args = parser.parse_args()

robot = mr.load_robot(args.robot)
controller = mr.make_controller(robot, args.controller)
reference = FigureEight(np.array([0.0, 0.0, 2.0]), rate_rad_s=0.8)

model = mujoco.MjModel.from_xml_string(robot.mjcf())
data = mujoco.MjData(model)
data.qpos[:] = reference.sample(np.zeros(1)).q[0]
speeds = robot.speeds(robot.hover_thrust)  # current rotor speeds
rate_loop_s = 0.02 + 2.0 * max(robot.motor_time_s)  # time constant of the autopilot's rate loop, slower than its motors

for k in range(round(8.0 / robot.control_period_s)):
    time = k * robot.control_period_s
    if k == round(4.0 / robot.control_period_s):
        model.body_mass[-1] *= 1.2
    state = mr.State(data.qpos.copy(), data.qvel.copy())
    command = controller.step(time, state, reference)
    for _ in range(round(robot.control_period_s / model.opt.timestep)):
        if args.command == "rates":  # the autopilot turns rates into torque, and torque into thrusts
            collective, rates = collective_and_rates(robot, time, state, command, rate_loop_s)
            spin = data.qvel[3:]
            torque = robot.inertia @ (rates - spin) / rate_loop_s + np.cross(spin, robot.inertia @ spin)
            wanted = robot.speeds(robot.thrusts(collective, torque))
        elif args.command == "speeds":
            wanted = rotor_speeds(robot, command)
        else:
            wanted = robot.speeds(command.effort)
        up, down = robot.motor_time_s
        speeds += (wanted - speeds) * model.opt.timestep / np.where(wanted > speeds, up, down)
        wrench = robot.allocation @ robot.thrusts_of(speeds)
        data.qfrc_applied[:3] = rotation.up(data.qpos[3:]) * wrench[0]
        data.qfrc_applied[3:] = wrench[1:]
        mujoco.mj_step(model, data)
    if k % round(0.5 / robot.control_period_s) == 0:
        error = np.linalg.norm(reference.sample(np.array([data.time])).q[0, :3] - data.qpos[:3])
        print(f"{time:4.1f} s   position error {100 * error:6.2f} cm   {command.status.value}")
