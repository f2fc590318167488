# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of this project and the best peers, on this machine and in one run: `metarl bench`."""
