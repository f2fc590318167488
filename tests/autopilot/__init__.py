# SPDX-License-Identifier: Apache-2.0
"""A stand-in autopilot, for tests of the bridges. It is not PX4: see vehicle.py."""
