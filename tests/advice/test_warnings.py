"""Advice of warnings: followed, they are given no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from following import Case, X, follow_warning, stored
from zarr.registry import get_codec_class

from daskgmm import GaussianMixture, open_rows
from daskgmm.descriptions import check

pytestmark = pytest.mark.slow  # a fit or two for each advice

COUNTS = (X * 10).astype("i2")
NARROW = np.concatenate([X, 30 + X * [0.02, 1.0]])
"""A component whose first feature is a thousandth as wide as all rows are."""
TILED = np.random.default_rng(0).normal(size=(30, 40))


def fitted(x: object, k: int = 1, **options: object) -> GaussianMixture:
    """As the other tests fit, but loudly."""
    return GaussianMixture(k, **({"random_state": 0} | options)).fit(x)


def _with_codec(at: Path, name: str) -> Path:
    codec = get_codec_class(name)()
    zarr.create_array(at / "with.zarr", data=X, chunks=(100, 2), compressors=[codec])
    return at / "with.zarr"


CASES = {
    "too few iterations": Case(
        lambda at: fitted(X, 2, max_iter=2, tol=1e-3, stepper="plain", progressive=False),
        r"not converged: (\d+) iterations did not .*; raise (max_iter) or tol",
        lambda at, said: fitted(
            X,
            2,
            tol=1e-3,
            stepper="plain",
            progressive=False,
            **{said[2]: 100 * int(said[1])},
        ),
    ),
    "a tolerance that is too small": Case(
        lambda at: fitted(X, 2, max_iter=2, tol=1e-12),
        r"not converged: .*to (tol)=1e-12 .*raise max_iter or tol",
        lambda at, said: fitted(X, 2, max_iter=2, **{said[1]: 1.0}),
    ),
    "too few reads": Case(
        lambda at: fitted(X, 2, reads=2, tol=1e-6),
        r"reads=(\d) allows no more .*; raise (reads) to reach (tol)=([\d.e-]+)",
        lambda at, said: fitted(X, 2, **{said[2]: 30 * int(said[1]), said[3]: float(said[4])}),
    ),
    "components of next to no rows": Case(
        lambda at: fitted(X[:200], 40, max_iter=1),  # no pass is left to put them elsewhere
        r"of (\d+) components hold .*; lower (n_components)",
        lambda at, said: fitted(X[:200]).set_params(**{said[2]: int(said[1]) // 20}).fit(X[:200]),
    ),
    "a ridge that blurs": Case(
        lambda at: fitted(X, 2, reg_covar=0.5, tol=0.1),
        r'clusters in them are blurred; set (reg_covar)="(\w+)"',
        lambda at, said: fitted(X, 2, tol=0.1, **{said[1]: said[2]}),
    ),
    "a ridge that blurs, rescaled": Case(
        lambda at: fitted(X, 2, reg_covar=0.5, tol=0.1),
        r"clusters in them are blurred; .* or (rescale) the data",
        lambda at, said: fitted(X * 100, 2, reg_covar=0.5, tol=0.1),
    ),
    "scales of components that a ridge blurs": Case(
        lambda at: fitted(NARROW, 2),
        r"is \d+% of the least variance of component \d; set (reg_covar)=([\d.e-]+) to see",
        lambda at, said: fitted(NARROW, 2, **{said[1]: float(said[2])}),
    ),
    "scales of components that a ridge blurs, standardised": Case(
        lambda at: fitted(NARROW, 2, standardize=True),
        r"is \d+% of the least variance of component \d; set (reg_covar)=([\d.e-]+) to see",
        lambda at, said: fitted(NARROW, 2, standardize=True, **{said[1]: float(said[2])}),
    ),
    "rows and columns the wrong way round": Case(
        lambda at: fitted(TILED, tol=10.0),
        r"are few for 1 full components.*wrong way round, (transpose) the data",
        lambda at, said: fitted(getattr(np.tile(TILED, 9), said[1])(), tol=10.0),
    ),
    "few rows for many components": Case(
        lambda at: fitted(TILED[:, :6], 4, tol=10.0),
        r"rows of \d features are few for (\d) .*or else choose fewer components",
        lambda at, said: fitted(TILED[:, :6], int(said[1]) // 2, tol=10.0),
    ),
    "few rows for full covariances": Case(
        lambda at: fitted(TILED, tol=10.0),
        r"are few for .*, or covariance_type='(\w+)'",
        lambda at, said: fitted(TILED, covariance_type=said[1], tol=10.0),
    ),
    "integers": Case(
        lambda at: open_rows(stored(at, COUNTS, "i2.zarr")),
        r"store it as (\w+) or (\w+) to save that in every pass",
        lambda at, said: [
            open_rows(stored(at, COUNTS.astype(name), f"{name}.zarr")) for name in said.groups()
        ],
    ),
    "no checksum": Case(
        lambda at: check(open_rows(stored(at, X, "none.zarr", checksum=False))),
        r"has no checksum, .*; write it with the (\w+) codec",
        lambda at, said: check(open_rows(_with_codec(at, said[1]))),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_of_a_warning_works(case, tmp_path):
    follow_warning(case, tmp_path)
