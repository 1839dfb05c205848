"""A few faults of every kind; ``python -m tests.chaos`` makes hundreds."""

from __future__ import annotations

import pytest

from .campaign import FAULTS, Campaign


def test_faults_change_no_bit_and_leave_nothing_half_written(tmp_path):
    campaign = Campaign(tmp_path, seed=1)
    campaign.run(8, ["driver killed", "driver asked to end", "chunk gone bad", "disk full"])
    assert sum(campaign.counts.values()) >= 8


@pytest.mark.slow
def test_two_hundred_faults(tmp_path):
    campaign = Campaign(tmp_path, seed=0)
    campaign.run(200, list(FAULTS))
    assert set(campaign.counts) == set(FAULTS)
