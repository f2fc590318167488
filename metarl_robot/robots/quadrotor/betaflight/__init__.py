# SPDX-License-Identifier: Apache-2.0
"""A Betaflight flight controller, addressed over MSP: collective thrust and body rates become RC channels."""
