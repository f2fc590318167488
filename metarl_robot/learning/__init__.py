# SPDX-License-Identifier: Apache-2.0
"""Offline learning; no other room imports torch."""
