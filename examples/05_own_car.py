# SPDX-License-Identifier: Apache-2.0
"""A controller in your own simulator of a car: here a few lines of numpy; the road gets wet at 6 s.

    python examples/05_own_car.py [ROBOT] [CONTROLLER]

The default is f1tenth meta_mpc. State in: x, y, yaw and their rates in the world frame. Command out: steering angle
[rad] and torque of all driven wheels [Nm]. The car of this file is not the controller's model: its tyres saturate as
tanh, and it has no rolling resistance.

With controller.observe_obstacles(discs), rows of x, y and radius [m; world], the car keeps clear of obstacles.
"""

import argparse

import numpy as np

import metarl_robot as mr
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

DT_S, WET_S, END_S = 0.002, 6.0, 12.0

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("robot", nargs="?", default="f1tenth")
parser.add_argument("controller", nargs="?", default="meta_mpc")
args = parser.parse_args()

robot = mr.load_robot(args.robot)
controller = mr.make_controller(robot, args.controller)
reference = flat_outputs_of(robot).motion("oval", np.random.default_rng(0), END_S)

front, rear = (float(x) for x in (robot.track.positions[:, 0].max(), robot.track.positions[:, 0].min()))
load = robot.mass_kg * 9.81 * np.array([-rear, front]) / (front - rear)  # of the front and the rear axle [N]


def accelerations(q: np.ndarray, v: np.ndarray, steering: float, torque: float, friction: float) -> np.ndarray:
    """World accelerations of a single-track car with tanh tyres."""
    c, s = np.cos(q[2]), np.sin(q[2])
    along, across = c * v[0] + s * v[1], c * v[1] - s * v[0]
    speed = max(abs(along), 0.3)
    slip = np.array([steering - np.arctan2(across + front * v[2], speed), -np.arctan2(across + rear * v[2], speed)])
    side = friction * load * np.tanh(5.0 * slip / friction)
    drive = np.clip(torque / robot.wheel_radius_m, -0.7 * friction * load.sum(), 0.7 * friction * load.sum())
    force = np.array([drive - side[0] * np.sin(steering), side[0] * np.cos(steering) + side[1]])
    turning = (front * side[0] * np.cos(steering) - rear * -side[1]) / robot.yaw_inertia
    return np.array([*(np.array([[c, -s], [s, c]]) @ force / robot.mass_kg), turning])


course = reference.sample(np.arange(0.0, END_S, 0.001)).q[:, :2]  # the error is the distance to it at any time
start = reference.sample(np.zeros(1))
q, v, acting = start.q[0].copy(), start.v[0].copy(), np.zeros(robot.nu)
for k in range(round(END_S / robot.control_period_s)):
    time = k * robot.control_period_s
    command = controller.step(time, mr.State(q.copy(), v.copy()), reference)
    for _ in range(round(robot.control_period_s / DT_S)):
        acting += (command.effort - acting) * DT_S / robot.lag_s
        v += DT_S * accelerations(q, v, *acting, friction=1.05 if time < WET_S else 0.7)
        q += DT_S * v
    if k % round(0.5 / robot.control_period_s) == 0:
        error = np.min(np.linalg.norm(course - q[:2], axis=1))
        print(f"{time:4.1f} s   path error {100 * error:6.2f} cm   {np.hypot(*v[:2]):.2f} m/s   {command.status.value}")
