# SPDX-License-Identifier: Apache-2.0
"""Offline meta-learning: the only room that imports torch."""
