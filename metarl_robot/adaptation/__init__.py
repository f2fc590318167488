# SPDX-License-Identifier: Apache-2.0
"""Online estimation of the context: numpy only."""
