# SPDX-License-Identifier: Apache-2.0
"""A quadrotor in undisturbed air with the noise of real sensors, for tests."""

from __future__ import annotations

from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

NOISY = QuadrotorTask(
    ground_effect=False,
    command_delay_s=0.005,
    position_noise_m=1e-3,
    attitude_noise_rad=2e-3,
    velocity_noise_m_s=0.02,
    gyro_noise_rad_s=0.01,
    accelerometer_noise_m_s2=0.2,
)
