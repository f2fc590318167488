# SPDX-License-Identifier: Apache-2.0
"""Online statistics of the sample stream: noise, smoothing, input latency and whiteness.

Each is in C if there is a compiler (stream.c), else in numpy; results agree to rounding.
"""
