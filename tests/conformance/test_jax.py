"""The jax engine against the reference."""

import pytest

from neuroport.testing import EngineConformance

pytest.importorskip("jax", reason="jax is not installed")


class TestJax(EngineConformance):
    engine_name = "jax"
