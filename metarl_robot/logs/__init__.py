# SPDX-License-Identifier: Apache-2.0
"""Recordings of robots that others made: readers, checks, and adapters that run over them as if live."""
