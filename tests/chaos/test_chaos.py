"""A few faults of some kinds; ``python -m tests.chaos`` makes hundreds of all."""

from __future__ import annotations

import pytest

from .campaign import Campaign
from .faults import FAULTS


def test_faults_change_no_bit_and_leave_nothing_half_written(tmp_path):
    """On threads: what takes a cluster or a store of objects is slow to begin."""
    with Campaign(tmp_path, seed=1) as campaign:
        campaign.run(4, ["driver killed", "task failed", "chunk gone bad", "disk full"])
    assert campaign.failures == []
    assert sum(campaign.counts.values()) >= 4


@pytest.mark.slow
def test_two_hundred_faults(tmp_path, is_small):
    with Campaign(tmp_path, seed=0) as campaign:
        campaign.run(len(FAULTS) if is_small else 200, list(FAULTS))
    assert campaign.failures == []
    assert is_small or set(campaign.counts) == set(FAULTS)
