"""Advice of errors in how rows are to be scaled or projected."""

from __future__ import annotations

import re

import numpy as np
import pytest
from following import Case, X, fit, follow
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FLAT = np.column_stack([X, X.sum(axis=1)])
MOSTLY_ZERO = np.column_stack([X, np.arange(len(X)) % 10 == 0])
BOTH = {"covariance_type": "spherical", "precisions_init": [1.0, 1.0], "standardize": True}
HALVES = np.array([[0.5, 0.5], [1.0, 1.0]])


def _pipeline(said: re.Match[str]) -> object:
    steps = {"StandardScaler": StandardScaler(), "PCA": PCA(int(said[3]))}
    return make_pipeline(steps[said[1]], steps[said[2]], InMemoryGaussianMixture()).fit(X)


CASES = {
    "more axes than features": Case(
        lambda at: fit(X, n_projected=3),
        r"lower it, or give a share of the variance such as ([\d.]+)",
        lambda at, said: fit(X, n_projected=float(said[1])),
    ),
    "axes without variance": Case(
        lambda at: fit(FLAT, n_projected=3),
        r"lower it to (\d+)",
        lambda at, said: fit(FLAT, n_projected=int(said[1])),
    ),
    "quartiles that are one": Case(
        lambda at: fit(MOSTLY_ZERO, standardize="robust"),
        r"set standardize=(True)",
        lambda at, said: fit(MOSTLY_ZERO, standardize=said[1] == "True"),
    ),
    "spherical precisions of scaled rows": Case(
        lambda at: fit(X, 2, **BOTH),
        r"choose covariance_type='(\w+)'",
        lambda at, said: fit(
            X, 2, **{**BOTH, "covariance_type": said[1], "precisions_init": HALVES}
        ),
    ),
    "a start along axes that are not found": Case(
        lambda at: fit(X, 2, n_projected=1, precisions_init=HALVES),
        r"leave (\w+) out: a start can be given by (\w+) and (\w+)",
        lambda at, said: fit(
            X, 2, n_projected=1, **{said[1]: None, said[2]: HALVES, said[3]: [0.5, 0.5]}
        ),
    ),
    "a warm start from other axes": Case(
        lambda at: fit(X, 2, n_projected=1).set_params(n_projected=None, warm_start=True).fit(X),
        r"set warm_start=(False)",
        lambda at, said: (
            fit(X, 2, n_projected=1)
            .set_params(n_projected=None, warm_start=said[1] == "True")
            .fit(X)
        ),
    ),
    "a start before the scale is known": Case(
        lambda at: fit(X, 2, n_projected=1, reads=1),
        r"or set reads=(\d)",
        lambda at, said: fit(X, 2, n_projected=1, reads=int(said[1])),
    ),
    "an update in other units": Case(
        lambda at: fit(X, 2, standardize="robust", reg_covar=1e-6).update(X),
        r"set_params\((reg_covar)='(auto)'\)",
        lambda at, said: (
            fit(X, 2, standardize="robust", reg_covar=1e-6)
            .set_params(**{said[1]: said[2]})
            .update(X)
        ),
    ),
    "an update of scaled spherical components": Case(
        lambda at: fit(X, 2, standardize=True, covariance_type="spherical").update(X),
        r"with covariance_type='(\w+)' for the last",
        lambda at, said: fit(X, 2, standardize=True, covariance_type=said[1]).update(X),
    ),
    "scikit-learn's mixture of projected rows": Case(
        lambda at: fit(X, n_projected=1).to_sklearn(),
        r"make_pipeline\((\w+)\(\), (\w+)\((\d)\), GaussianMixture",
        lambda at, said: _pipeline(said),
    ),
}


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("name", CASES)
def test_advice_works_when_it_is_followed(name, tmp_path):
    follow(CASES[name], tmp_path)
