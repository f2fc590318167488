# SPDX-License-Identifier: Apache-2.0
"""A robot in the browser: its motion in 3-D, plots, and buttons that disturb it. Served by viser; no ROS here."""
