# SPDX-License-Identifier: Apache-2.0
"""Serial arms: description, dynamics, adaptation, trajectories, controllers, fallback law."""
