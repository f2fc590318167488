# SPDX-License-Identifier: Apache-2.0
"""Bitcraze's Crazyflie: its firmware's commands, logs and supervisor, in our frames and units."""
