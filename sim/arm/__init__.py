# SPDX-License-Identifier: Apache-2.0
"""Arms in MuJoCo: tasks, plants, suites, rollouts for learning."""
