# SPDX-License-Identifier: Apache-2.0
"""Meta-learned adaptive control for robots: see README.md."""

__version__ = "0.1.0"
