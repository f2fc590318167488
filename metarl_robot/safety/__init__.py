# SPDX-License-Identifier: Apache-2.0
"""The gate, fallback laws and input validation: numpy only, without rclpy or CasADi."""
