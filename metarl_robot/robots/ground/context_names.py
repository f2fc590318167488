# SPDX-License-Identifier: Apache-2.0
"""Names of context entries that reports and controllers read; see dynamics.py for their meaning."""

FRICTION = "surface_friction_log"
STIFFNESS = "surface_stiffness_log"
ROLLING = "rolling_resistance_change"
SLOPES = ("slope_x_rad", "slope_y_rad")
MASS = "payload_mass_kg"
