# SPDX-License-Identifier: Apache-2.0
"""A stand-in for ros2_control, for tests of its bridge. It is not ros2_control: see stand_in.py."""
