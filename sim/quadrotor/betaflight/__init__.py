# SPDX-License-Identifier: Apache-2.0
"""Betaflight's firmware as a program on this machine, flying a simulated quadrotor in lockstep."""
