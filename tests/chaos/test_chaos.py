"""Faults of all kinds, as ``python -m tests.chaos`` makes them."""

from __future__ import annotations

import pytest

from .campaign import Campaign
from .faults import FAULTS


@pytest.mark.slow
def test_two_hundred_faults(tmp_path, is_small):
    with Campaign(tmp_path, seed=0) as campaign:
        campaign.run(len(FAULTS) if is_small else 200, list(FAULTS))
    assert campaign.failures == []
    assert is_small or set(campaign.counts) == set(FAULTS)
