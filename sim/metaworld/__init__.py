# SPDX-License-Identifier: Apache-2.0
"""Meta-World in a virtual environment of its own, stepped by worker processes of it."""
