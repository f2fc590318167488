# SPDX-License-Identifier: Apache-2.0
"""Engines: independent work items on the processes of one machine, or on a Ray cluster. Ray is imported only here."""
