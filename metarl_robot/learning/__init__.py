# SPDX-License-Identifier: Apache-2.0
"""Offline learning with torch."""
