# SPDX-License-Identifier: Apache-2.0
"""Bridges between our topics and a driver or an autopilot. Units and frames are converted only here, or in modules of
the robot's kind that only bridges use."""
