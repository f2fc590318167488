# SPDX-License-Identifier: Apache-2.0
"""Ground vehicles in MuJoCo."""
