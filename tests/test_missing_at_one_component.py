"""Missing values at one component, as full information maximum likelihood of another program has it."""

from __future__ import annotations

import numpy as np
import pytest

from daskgmm import GaussianMixture


def test_one_gaussian_with_gaps_is_as_lavaan_has_it():
    """Estimates of lavaan 0.6-14 on R 4.2.2, all digits as printed::

    x <- data.frame(
        a = c(2.1, 0.4, 1.7, NA, 3.2, -0.6, 1.1, 2.8, NA, 0.9, 1.5, -1.2, 2.2, 0.3),
        b = c(1.9, NA, 2.4, 0.7, 3.9, NA, 0.8, 2.2, -0.3, 1.6, NA, -0.9, 2.7, 0.2),
        c = c(-0.5, 0.8, NA, 1.1, -1.4, 1.9, NA, -0.7, 0.6, 0.1, -0.2, 2.3, NA, 1.2))
    model <- "a ~~ a + b + c\\nb ~~ b + c\\nc ~~ c\\na ~ 1\\nb ~ 1\\nc ~ 1"
    f <- lavaan(model, data = x, missing = "ml", control = list(rel.tol = 1e-14))
    e <- fitted(f)
    format(as.numeric(logLik(f)), digits = 15)
    format(e$mean, digits = 12)
    format(e$cov[lower.tri(e$cov, diag = TRUE)], digits = 12)
    """
    na = np.nan
    a = [2.1, 0.4, 1.7, na, 3.2, -0.6, 1.1, 2.8, na, 0.9, 1.5, -1.2, 2.2, 0.3]
    b = [1.9, na, 2.4, 0.7, 3.9, na, 0.8, 2.2, -0.3, 1.6, na, -0.9, 2.7, 0.2]
    c = [-0.5, 0.8, na, 1.1, -1.4, 1.9, na, -0.7, 0.6, 0.1, -0.2, 2.3, na, 1.2]
    x = np.array([a, b, c]).T
    model = GaussianMixture(missing="em", reg_covar=0, tol=1e-13, random_state=0).fit(x)
    # Its optimiser ends at a gradient of 1e-7, so that estimates are good to some 1e-7.
    assert len(x) * model.score(x) == pytest.approx(-29.3378761893584, rel=1e-12)
    means = [1.105759952920, 1.220265911459, 0.336971432776]
    np.testing.assert_allclose(model.means_[0], means, atol=1e-7)
    variances = [1.45587790351, 1.86716499110, 1.03313440316]
    np.testing.assert_allclose(np.diag(model.covariances_[0]), variances, atol=1e-7)
    covariances = model.covariances_[0][[1, 2, 2], [0, 0, 1]]
    np.testing.assert_allclose(
        covariances, [1.48326114196, -1.19934741442, -1.29455057454], atol=1e-7
    )
