"""Tests of compiled loops, and where there are none."""

import pytest

from daskgmm.kernel import loops

needs_loops = pytest.mark.skipif(loops.VARIANT is None, reason=f"no loops: {loops.WHY_NONE}")
