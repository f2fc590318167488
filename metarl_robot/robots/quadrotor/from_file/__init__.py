# SPDX-License-Identifier: Apache-2.0
"""Makes a multirotor's robot.yaml from the parameters of a PX4 airframe."""
