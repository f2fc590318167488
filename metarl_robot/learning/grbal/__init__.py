# SPDX-License-Identifier: Apache-2.0
"""Model-based meta-learning by the GrBAL protocol: dynamics that adapt by gradient steps, and sampling MPC."""
