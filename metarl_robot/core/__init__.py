# SPDX-License-Identifier: Apache-2.0
"""Shared types: robot description, signals, errors, files, rotations and tables. Needs numpy only."""
