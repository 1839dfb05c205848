"""Outliers: rows that a fitted mixture hardly explains."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

from daskgmm.em import (
    LOWEST_BYTES,
    are_outliers,
    check_marks_outliers,
    threshold_of_mixture,
    threshold_of_rows,
)
from daskgmm.errors import ParameterError
from daskgmm.fitted.of_rows import OfRows
from daskgmm.settings import OUTLIER_OPTIONS
from daskgmm.tables import columns_named, outliers

__all__ = ["Outliers"]


class Outliers(OfRows):
    """Which rows a fitted mixture hardly explains."""

    def set_threshold(
        self,
        X: Any = None,
        *,
        quantile: float | None = None,
        probability: float | None = None,
        sample_weight: Any = None,
    ) -> Self:
        """Choose what makes a row an outlier; it is saved with the model.

        Another fit or an update removes the threshold, because it belongs to the mixture as it is
        now.

        Parameters
        ----------
        X : array of shape (n_rows, n_features), optional
            Rows of which a quantile is taken, as for :meth:`score`; not read for a probability.
        quantile : float, optional
            Outliers are the rows whose log density is below this quantile of the log densities of
            `X`, by weight. The log density is that of :meth:`score_samples`; in a model with noise
            it is that of the components alone, as no density is below that of noise. It takes one pass. It is exact if the share is at most 131,072 rows,
            which for 0.01 are rows out of 13 million; otherwise ``threshold_.rank_error`` bounds
            the error of the share.
        probability : float, optional
            Outliers are the rows whose squared Mahalanobis distance to the component of greatest
            responsibility is above what rows of a Gaussian exceed with this probability. It takes
            no pass, and is not for models of t components.
        sample_weight : array of shape (n_rows,), optional
            How often each row of `X` counts.

        Returns
        -------
        self
            With ``threshold_``, a :class:`~daskgmm.em.Threshold`.

        Raises
        ------
        ParameterError
            If not exactly one of ``quantile`` and ``probability`` is given; if a quantile is given
            without rows, or weights without a quantile; or if a probability is given and the model
            has t components.
        DataError, MemoryLimitError
            If the rows cannot be used.

        Warns
        -----
        DaskGMMWarning
            If the rows of the fit had weights, and these have none.
        """
        for option, value in zip(OUTLIER_OPTIONS, (quantile, probability), strict=True):
            option.check(value)
        check_marks_outliers(self.missing)
        mixture = self._mixture
        of_rows = X is not None and quantile is not None
        if (quantile is None) == (probability is None) or (
            not of_rows and (quantile is not None or sample_weight is not None)
        ):
            raise ParameterError(
                "set_threshold takes rows and a quantile of them, set_threshold(X, quantile=0.01), "
                "or a probability alone, set_threshold(probability=0.001)"
            )
        if probability is not None:
            self.threshold_ = threshold_of_mixture(mixture, probability)
            return self
        assert quantile is not None
        X = self._as_fitted(X)
        X, weights = self._open_weights(sample_weight, X)
        opened = self._open(X, weights, sum_bytes=LOWEST_BYTES).weighed()
        with columns_named(opened.feature_names):
            rows = opened.mapped(self._projection).rows
            self.threshold_ = threshold_of_rows(rows, mixture, quantile)
        return self

    def is_outlier(self, X: Any) -> Any:
        """Whether each row is beyond the threshold that :meth:`set_threshold` set.

        Parameters
        ----------
        X : rows
            As for :meth:`predict`.

        Returns
        -------
        array, Series or DataArray of shape (n_rows,), bool or int8
            Lazy, and in containers, as :meth:`predict`. For xarray, and where rows with gaps are left
            out, it is int8: 1 for outliers, 0 for others, and -2 where a feature is missing, so that
            outliers are chosen by ``is_outlier(X) == 1``.

        Raises
        ------
        ParameterError
            If no threshold was set: see :meth:`set_threshold`.
        """
        threshold = self._known_threshold()
        about = outliers(threshold).arrays(self._mixture.classes)[0]
        return self._of_rows(X, partial(are_outliers, threshold=threshold), bool, about)
