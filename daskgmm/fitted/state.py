"""State: the attributes of a fitted mixture, and the mixture that they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from daskgmm.em import Fit, Missing, Threshold, check_marks_outliers
from daskgmm.errors import ParameterError
from daskgmm.fitted.noise import NOISE_ATTRIBUTES, attributes_of_noise, noise_of
from daskgmm.fitted.parameters import covariances_of_factors
from daskgmm.fitted.projection import (
    PROJECTION_ATTRIBUTES,
    attributes_of_projection,
    projection_of,
)
from daskgmm.fitted.tails import DEGREES, attributes_of_tails, mixture_of
from daskgmm.kernel import (
    Affine,
    Elliptical,
    FixedParts,
    Mixture,
    Statistics,
    count_parameters,
    family_of,
    kind_of,
)

__all__ = ["FittedState"]


class FittedState(DensityMixin, BaseEstimator):
    """An estimator whose fitted attributes are a mixture; others add what can be done with it."""

    def _set_mixture(
        self,
        mixture: Mixture,
        statistics: Statistics | None = None,
        projection: Affine | None = None,
    ) -> None:
        """Set the parameters; those of projected rows with their projection."""
        assert isinstance(mixture.components, Elliptical)
        components = mixture.components.gaussians
        self.weights_ = np.array(mixture.weights)
        self.means_ = np.array(components.means)
        # An earlier fit may have left these.
        for name in (*PROJECTION_ATTRIBUTES, *NOISE_ATTRIBUTES, DEGREES, "threshold_"):
            self.__dict__.pop(name, None)
        if projection is not None:
            self.__dict__.update(attributes_of_projection(projection, components.means))
        if mixture.noise is not None:
            self.__dict__.update(attributes_of_noise(mixture.noise))
        self.__dict__.update(attributes_of_tails(mixture.components))
        self.covariances_ = np.array(components.covariances)
        self.precisions_cholesky_ = np.array(components.factors)
        self.precisions_ = np.array(components.precisions)
        self.n_features_in_ = self.means_.shape[1]
        self._fitted_type = mixture.kind  # the parameter may be set anew
        self._fitted_as = None
        self._fixed_parts = FixedParts()
        self._kept = None if statistics is None else (mixture, statistics)

    threshold_: Threshold
    missing: Missing
    _fitted_type: str | None = None
    _fitted_as: str | None = None
    """Kind of the components that were fitted to mapped rows; None where that is their kind."""
    _fixed_parts = FixedParts()
    """What the fit left as it was in the start."""
    _kept: tuple[Mixture, Statistics] | None = None
    """The fitted mixture, and the statistics of the last pass over the rows it was fitted to."""
    _ended: Fit | None = None
    _order: NDArray[np.intp] | None = None
    """Places that the components had in the fit; None if they have them still."""
    _is_weighted = False
    """Whether rows of the fit had weights."""
    _unit_of_weights = 1.0
    """What weights were multiplied by in the fit."""
    _known_as: str | None = None
    """What a job knows the rows by."""
    _read_as: Mapping[str, Any] | None = None
    """What said which of the stored values the rows of the fit were; None for rows as they are."""
    _units: Sequence[str] | None = None
    """Units of the features, empty where there are none."""
    _blurred = ""
    _ridge: Sequence[float] | None = None
    """What ``reg_covar="auto"`` added to the variance of each feature; None where nobody knows."""
    _past: tuple[float, ...] = ()
    """Log-likelihoods of the last two accepted passes, over fits that went on from each other."""
    _objective_of_past: Mapping[str, Any] | None = None
    """Values of the options that say what these fits climbed."""
    _n_rows_of_past: int | None = None
    """Rows that each of these passes read."""

    def _set_names(self, names: Sequence[str] | None) -> None:
        """Keep the names of the features, and none of an earlier fit."""
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    @property
    def _projection(self) -> Affine | None:
        """The map onto the features that the mixture is of; None where they are the data's."""
        return projection_of(self.__dict__)

    @property
    def _names_of_mixture(self) -> tuple[str, ...]:
        """Names of the features that the mixture is of: those of the data, or else axes."""
        mixture, projection = self._mixture, self._projection
        given = getattr(self, "feature_names_in_", None)
        n_in = mixture.n_features if projection is None else projection.n_in
        names = [f"x{j}" for j in range(n_in)] if given is None else [str(name) for name in given]
        return tuple(names if projection is None else projection.names_of_out(names))

    def _known_threshold(self) -> Threshold:
        """The threshold beyond which rows are outliers.

        Raises
        ------
        ParameterError
            If no threshold was set.
        """
        check_is_fitted(self)
        check_marks_outliers(self.missing)
        if not hasattr(self, "threshold_"):
            raise ParameterError(
                "the model has no threshold for outliers: call set_threshold(X, quantile=0.01) or "
                "set_threshold(probability=0.001) first, or daskgmm outliers with --save-threshold"
            )
        return self.threshold_

    @property
    def _mixture(self) -> Mixture:
        check_is_fitted(self)
        kind = self._fitted_type or self._kind_of(self.covariance_type)
        if not (hasattr(self, "weights_") and hasattr(self, "means_")):
            raise NotFittedError("weights_ and means_ must be set by fit, or both by hand")
        if hasattr(self, "covariances_"):
            covariances = self.covariances_
        elif hasattr(self, "precisions_cholesky_"):
            covariances = covariances_of_factors(self.precisions_cholesky_, family_of(kind))
        else:
            raise NotFittedError(
                "weights_ and means_ are set, but neither covariances_ nor precisions_cholesky_"
            )
        means = getattr(self, "projected_means_", self.means_)
        noise = noise_of(self.__dict__)
        return mixture_of(kind, (self.weights_, means, covariances), self.__dict__, noise)

    def _kind_of(self, family: str) -> str:
        """Kind of components over a family of covariances, as the parameters ask for it."""
        return kind_of(family, self.degrees_of_freedom if self.tails == "t" else None)

    def _is_still(self, mixture: Mixture) -> bool:
        """Whether the parameters are a mixture's: they may have been set by hand since."""
        now = self._mixture
        ours, theirs = now.components.arrays, mixture.components.arrays
        return (
            now.kind == mixture.kind
            and np.array_equal(now.weights, mixture.weights)
            and (now.noise_weight, now.log_noise) == (mixture.noise_weight, mixture.log_noise)
            and all(np.array_equal(ours[name], theirs[name]) for name in theirs)
        )

    def _statistics(self) -> Statistics | None:
        """Statistics of the rows that the parameters were fitted to; None where nobody has them."""
        if self._kept is None or not self._is_still(self._kept[0]):
            return None
        return self._kept[1]

    def _n_parameters(self) -> int:
        """Free parameters: private in scikit-learn, and used for criteria all the same."""
        mixture = self._mixture
        kind = mixture.kind if self._fitted_as is None else self._kind_of(self._fitted_as)
        k, d = mixture.means.shape
        has_noise = mixture.noise is not None
        n_fixed = self._fixed_parts.count(kind, (k, d), has_noise)
        return count_parameters(kind, k, d, has_noise) - n_fixed
