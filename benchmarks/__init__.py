# SPDX-License-Identifier: Apache-2.0
"""Ours side by side with the best peers, on this machine, in one run: `metarl bench`."""
