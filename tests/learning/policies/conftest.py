# SPDX-License-Identifier: Apache-2.0
"""Policies need the extra 'train'."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("gymnasium", reason="the extra 'train' is not installed")
