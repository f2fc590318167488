# SPDX-License-Identifier: Apache-2.0
"""Meta-learning of dynamics models: Bayesian last layer and MAML."""
