# SPDX-License-Identifier: Apache-2.0
"""Offline learning: the only room that imports torch."""
