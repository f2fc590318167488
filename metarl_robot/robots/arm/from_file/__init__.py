# SPDX-License-Identifier: Apache-2.0
"""A robot folder from a user's own URDF or MJCF file."""
