"""The torch engine against the reference."""

import pytest

from neuroport.testing import EngineConformance

pytest.importorskip("torch", reason="torch is not installed")


class TestTorch(EngineConformance):
    engine_name = "torch"
