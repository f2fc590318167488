# SPDX-License-Identifier: Apache-2.0
"""Compilation of CasADi and C, and calls without conversions."""
