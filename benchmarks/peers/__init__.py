# SPDX-License-Identifier: Apache-2.0
"""The peers, one file each: the same problem, formulated for the peer's interface."""
