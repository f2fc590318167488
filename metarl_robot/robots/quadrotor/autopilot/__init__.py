# SPDX-License-Identifier: Apache-2.0
"""Quadrotors flown by an autopilot's rate loop: frames, thrust curve, rate setpoints, handover of control, clocks."""
