# SPDX-License-Identifier: Apache-2.0
"""The simulated payload, for the kinds of robots that carry one."""

from metarl_robot.sim.payload.body import Payload as Payload
