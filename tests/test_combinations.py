"""Options of fits, two by two: a pair works, or is refused in one line that says how to go on."""

from __future__ import annotations

import itertools
import warnings

import dask.array as da
import numpy as np
import pytest
from made_data import WORDS_OF_FAMILIES

from daskgmm import GaussianMixture
from daskgmm.em import STEPPERS
from daskgmm.errors import DaskGMMError

pytestmark = pytest.mark.slow  # a fit for each of some hundred pairs

OPTIONS = {
    "fixed": ({"means": [0]}, {"weights": [1]}),
    "prior": ("auto",),
    "noise": (True,),
    "tails": ("t",),
    "degrees_of_freedom": ("each", 4.0),
    "on_collapse": ("prune",),
    "constant": ("drop",),
    "standardize": (True, "robust"),
    "n_projected": (2,),
    "stepper": tuple(STEPPERS),
    "stopping": ("increment",),
    "progressive": (True,),
    "n_init": (2,),
    "order": ("weight",),
    "precision": ("float32",),
    "covariance_type": tuple(name for name in WORDS_OF_FAMILIES if name != "full"),
    "missing": ("drop", "em"),
    "measurement_noise": (0.5,),
}
NOT_COMBINED = {
    *("n_components", "tol", "reg_covar", "max_iter", "random_state"),  # every fit has them
    *("weights_init", "means_init", "precisions_init", "init_params"),  # and a start
    *("warm_start", "reads", "truncate", "stage_dtype"),  # other fits, rows and sizes than here
}
"""Options that decide the result, and are tested elsewhere beside others."""
STARTS = {"means": [[0.0] * 3, [np.nan] * 3], "weights": [np.nan, 0.4]}
"""What parts are fixed at; the others are found."""
REFUSED = {
    ("fixed", "order", "weight"): "named by number",
    ("fixed", "on_collapse", "prune"): "named by number",
    ("fixed", "n_projected", 2): "axes that n_projected finds",
    ("prior", "tails", "t"): "have no prior",
    ("prior", "degrees_of_freedom", "each"): "have no prior",
    ("prior", "degrees_of_freedom", 4.0): "have no prior",
    ("constant", "standardize", "robust"): "does not go with standardize",
    ("noise", "missing", "em"): "do not go together",
    ("tails", "missing", "em"): "do not go together",
    ("degrees_of_freedom", "missing", "em"): "do not go together",
    ("constant", "missing", "em"): "do not go together",
    ("n_projected", "missing", "em"): "do not go together",
    ("noise", "measurement_noise", 0.5): "do not go together",
    ("tails", "measurement_noise", 0.5): "do not go together",
    ("degrees_of_freedom", "measurement_noise", 0.5): "do not go together",
    ("constant", "measurement_noise", 0.5): "do not go together",
    ("n_projected", "measurement_noise", 0.5): "do not go together",
}
PAIRS = [
    pytest.param(a, u, b, v, id=f"{a}={u} {b}={v}")
    for a, b in itertools.combinations(OPTIONS, 2)
    for u, v in itertools.product(OPTIONS[a], OPTIONS[b])
]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    parts = rng.normal(0, 1, (150, 3)), rng.normal(6, 1, (150, 3)), rng.uniform(-20, 20, (20, 3))
    return rng.permutation(np.concatenate(parts))


def fitted(x: np.ndarray, **options: object) -> GaussianMixture:
    if "degrees_of_freedom" in options:
        options["tails"] = "t"
    if "fixed" in options:
        part = next(iter(options["fixed"]))
        options[f"{part}_init"] = STARTS[part]
    variance = options.pop("measurement_noise", None)
    noise = None if variance is None else np.full(x.shape, variance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(2, **({"progressive": False, "random_state": 0} | options))
        return model.fit(x, measurement_noise=noise)


@pytest.mark.parametrize(("a", "u", "b", "v"), PAIRS)
def test_two_options_go_together_or_are_refused_in_one_line(x, a, u, b, v):
    if (a, b, v) in REFUSED:
        with pytest.raises(DaskGMMError, match=REFUSED[a, b, v]) as caught:
            fitted(x, **{a: u, b: v})
        assert "\n" not in str(caught.value)
        return
    model = fitted(x, **{a: u, b: v})
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0, rtol=1e-6)
    assert np.isfinite([model.lower_bound_, model.score(x), model.bic(x)]).all()
    # The ridge, a millionth of the variances, makes M-steps maxima to about its share.
    assert (np.diff(model.lower_bounds_) > -1e-6).all()
    assert np.isfinite(model.sample(10)[0]).all()
    assert set(np.unique(model.predict(x))) <= {-1, *range(model.weights_.size)}


@pytest.mark.parametrize(("a", "b", "v"), REFUSED)
def test_what_is_refused_is_so_before_rows_are_read(a, b, v):
    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("the rows were read")

    rows = da.zeros((1000, 3), chunks=(500, 3)).map_blocks(read, meta=np.empty((0, 0)))
    with pytest.raises(DaskGMMError, match=REFUSED[a, b, v]):
        fitted(rows, **{a: OPTIONS[a][0], b: v})
