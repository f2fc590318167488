# SPDX-License-Identifier: Apache-2.0
"""Shared types: robot description, signals, errors, files, rotations, tables: numpy only."""
