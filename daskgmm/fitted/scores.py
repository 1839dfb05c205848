"""Scores: log-likelihood and criteria of rows under a fitted mixture, in one pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from daskgmm.em import Score, score_rows
from daskgmm.fitted.of_rows import OfRows
from daskgmm.tables import Weights, columns_named

__all__ = ["Scores"]


class Scores(OfRows):
    """How well rows go with a fitted mixture."""

    def score(
        self, X: Any, y: None = None, sample_weight: Any = None, measurement_noise: Any = None
    ) -> float:
        """Mean log density of the rows, in nats, by their weights if given; it takes one pass.

        Parameters
        ----------
        X : rows
            As for :meth:`fit`, with the features of the fit.
        y : None
            Not used; scikit-learn's pipelines pass it.
        sample_weight : array of shape (n_rows,), optional
            How often each row counts, as for :meth:`fit`.
        measurement_noise : array, optional
            Variances of the noise of each value, or its covariances, as for :meth:`fit`.

        Returns
        -------
        float

        Warns
        -----
        DaskGMMWarning
            If the rows of the fit had weights, and these have none.
        """
        X, weights = self._open_weights(sample_weight, self._as_fitted(X))
        return self._score(X, weights, measurement_noise).log_likelihood_per_row

    def aic(self, X: Any, sample_weight: Any = None, measurement_noise: Any = None) -> float:
        """Akaike's information criterion of the rows; lower is better; passes as :meth:`score`.

        Its log-likelihood is the sum over rows, each times its weight.

        Parameters
        ----------
        X, sample_weight, measurement_noise
            As for :meth:`score`.

        Returns
        -------
        float

        Warns
        -----
        DaskGMMWarning
            As :meth:`bic`.
        """
        return self.criteria(X, sample_weight, measurement_noise).aic

    def bic(self, X: Any, sample_weight: Any = None, measurement_noise: Any = None) -> float:
        """Bayesian information criterion of the rows; lower is better; passes as :meth:`score`.

        With weights, N is their sum and the log-likelihood the sum over rows, each times its
        weight: the criterion of rows that were seen so often. Weights that are no counts, such
        as areas or probabilities of selection, have to be scaled so that their sum is the
        number of rows that they tell as much as, or it means little.

        Parameters
        ----------
        X, sample_weight, measurement_noise
            As for :meth:`score`.

        Returns
        -------
        float

        Warns
        -----
        DaskGMMWarning
            If the sum of the weights is far below that number; or if the rows of the fit had weights, and
            these have none.
        """
        return self.criteria(X, sample_weight, measurement_noise).bic

    def criteria(self, X: Any, sample_weight: Any = None, measurement_noise: Any = None) -> Score:
        """Log-likelihood, AIC, BIC and ICL of the rows, at once; see :meth:`score`, :meth:`bic`.

        Parameters
        ----------
        X, sample_weight, measurement_noise
            As for :meth:`score`.

        Returns
        -------
        Score

        Warns
        -----
        DaskGMMWarning
            As :meth:`bic`.
        """
        X, weights = self._open_weights(sample_weight, self._as_fitted(X))
        if weights is not None:
            weights.warn_if_no_counts()
        return self._score(X, weights, measurement_noise)

    def _score(self, x: Any, weights: Weights | None, measurement_noise: Any) -> Score:
        opened = self._open(x, weights, measurement_noise=measurement_noise)
        with columns_named(opened.feature_names):
            found = score_rows(opened.mapped(self._projection).rows, self._mixture)
        return replace(found, n_parameters=self._n_parameters())
