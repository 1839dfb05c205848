"""What every test may use; ``tests/`` itself is importable because this file is here."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from made_data import WORDS_OF_FAMILIES

from daskgmm.kernel.blas import single_thread

# No deadline: no test depends on timing. Derandomised: the same examples every run.
settings.register_profile(
    "here",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("here")


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """As in every pass: threads that spin on small products cost more than all tests."""
    with single_thread():
        yield


@pytest.fixture(params=WORDS_OF_FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """The name of every covariance family in the table."""
    return request.param
