"""Conditioned: what a fitted mixture says of some features alone, or given others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import feature_means, feature_moments
from daskgmm.errors import DataError, FeaturesError, ParameterError
from daskgmm.fitted.exchange import Exchanged
from daskgmm.fitted.of_rows import OfRows
from daskgmm.fitted.projection import said_of_dropped
from daskgmm.kernel import (
    Gaussians,
    Mixture,
    Students,
    conditional_mixture,
    marginal_mixture,
    regression_of,
)
from daskgmm.tables import known_name, of_features

__all__ = ["Conditioned"]

Feature = str | int
"""Name of a feature, where the model has names, or its index."""

_KEPT = ("random_state", "memory_limit")
"""Parameters that a model of other features goes on with: no fit is needed for them."""


_PREDICTED = (
    ("conditional_mean", "mean of the feature given the others"),
    ("conditional_std", "standard deviation of the feature given the others"),
)
"""Names and long names of what is predicted of features."""


class Conditioned(OfRows, Exchanged):
    """A fitted mixture over some of its features."""

    def marginal(self, names: Feature | Sequence[Feature]) -> Self:
        """The mixture over some features, whatever the others are.

        Parameters
        ----------
        names : str, int or sequence of these
            Features, by name or index, in the order in which the new model is to have them.

        Returns
        -------
        GaussianMixture
            A model of the same components in the same order, and of the same covariance type, as
            :meth:`from_parameters` makes it. It has ``random_state``, ``memory_limit`` and the
            choice of :meth:`set_output` of this model.

        Raises
        ------
        ParameterError
            If a feature is not the model's, or is named twice; or for a model with
            ``n_projected``, ``noise`` or ``tails``.
        """
        chosen = self._features(names, "marginal")
        return self._over(marginal_mixture(self._mixture, chosen), chosen)

    def condition(self, values: Mapping[Any, float]) -> Self:
        """The mixture over the other features, where some have known values.

        Parameters
        ----------
        values : mapping
            Value of each known feature, in the data's own units, by its name or index.

        Returns
        -------
        GaussianMixture
            A model over the other features, in their order, and otherwise as :meth:`marginal`
            makes it. Its weights are the responsibilities that the components have for the values.

        Raises
        ------
        ParameterError
            As :meth:`marginal`; if there is no other feature; or if no component has a density at
            the values.
        """
        if not isinstance(values, Mapping):
            raise ParameterError(
                f"condition needs a value for each known feature, such as {{'temp': 20.0}}; got "
                f"{values!r:.100}"
            )
        known = self._features(list(values), "condition")
        rest = self._others(known, "condition")
        try:
            found = np.array([float(value) for value in values.values()])
        except (TypeError, ValueError) as error:
            raise ParameterError(f"condition needs a number for each feature: {error}") from None
        return self._over(conditional_mixture(self._mixture, known, found), rest)

    def predict_features(
        self, X: Any, names: Feature | Sequence[Feature], *, return_std: bool = False
    ) -> Any:
        """Mean of some features given all others: the mixture as a regression.

        Parameters
        ----------
        X : array of shape (n_rows, n_others)
            Rows of the other features, in the order of the model, as :meth:`predict` takes them.
            In Parquet and Datasets they are selected by name. To predict from fewer features, use
            the regression of a :meth:`marginal`.
        names : str, int or sequence of these
            The M features to predict, by name or index.
        return_std : bool, default=False
            Whether their standard deviations given the others are returned as well.

        Returns
        -------
        means : array of shape (n_rows, M)
            In the data's own units and the order of ``names``; lazy, and in containers, as of
            :meth:`predict`. Columns of DataFrames, and the coordinate ``feature`` of xarray's,
            are the names.
        deviations : array of the same shape and container
            Only with ``return_std``: the standard deviation of a single row about its mean. It
            includes how far the means of the components are apart.

        Raises
        ------
        ParameterError
            As :meth:`marginal`, or if there is no other feature.
        DataError
            If the rows cannot be used; a FeaturesError, if they have the features to predict, too.

        References
        ----------
        Ghahramani and Jordan (1994), Supervised learning from incomplete data via an EM approach.
        """
        wanted = self._features(names, "predict_features")
        others = self._others(wanted, "predict_features")
        mixture, law = self._mixture, self._mixture.components
        assert isinstance(law, Gaussians)
        given = self._over(marginal_mixture(mixture, others), others)
        regression = regression_of(law, others, wanted)
        called = self._names_of(wanted) or [f"feature_{i}" for i in wanted]
        function = feature_moments if return_std else feature_means
        try:
            found = given._results_of_rows(
                X,
                partial(function, regression=regression),
                np.float64,
                [of_features(*named, called) for named in _PREDICTED[: 1 + return_std]],
            )
        except FeaturesError as error:
            left = self._names_of(others) or [f"feature_{i}" for i in others]
            raise FeaturesError(
                f"predict_features takes X of the other features alone, {', '.join(left)}, in this "
                f"order; leave {', '.join(called)} out of X, and what the model has not. {error}"
            ) from None
        return tuple(found) if return_std else found[0]

    def _features(self, chosen: Feature | Sequence[Feature], who: str) -> NDArray[np.intp]:
        """Indices of features that are chosen by name or index.

        Raises
        ------
        ParameterError
        """
        if said := said_of_dropped(self._projection, getattr(self, "feature_names_in_", None)):
            raise ParameterError(
                f"{who} needs a mixture of all features, and this one has {said}; fit without them",
                "constant",
            )
        if self._projection is not None:
            raise ParameterError(
                f"{who} needs a mixture of the features, and the model is of axes that n_projected "
                "found; fit without n_projected (standardize=True does no harm)",
                "n_projected",
            )
        if isinstance(self._mixture.components, Students):
            raise ParameterError(
                f"{who} needs Gaussians, and the model has t components; fit without tails", "tails"
            )
        if self._mixture.noise is not None:
            raise ParameterError(
                f"{who} needs a mixture of components alone, and the density of noise says nothing "
                "of single features; fit without noise",
                "noise",
            )
        if isinstance(chosen, str | int | np.integer):
            chosen = [chosen]
        if not isinstance(chosen, Iterable):
            raise ParameterError(f"{who} needs names or indices of features; got {chosen!r}")
        listed = list(chosen)
        found = [self._feature(one) for one in listed]
        if not found:
            raise ParameterError(f"{who} needs one feature or more; got none")
        for one in listed:
            if found.count(self._feature(one)) > 1:
                raise ParameterError(f"feature {one!r} is named twice; name each feature once")
        return np.array(found, np.intp)

    def _feature(self, one: Any) -> int:
        n = self._mixture.n_features
        if isinstance(one, int | np.integer) and not isinstance(one, bool):
            if not 0 <= one < n:
                raise ParameterError(
                    f"there is no feature {one}; the model has {n}, from 0 to {n - 1}"
                )
            return int(one)
        names = getattr(self, "feature_names_in_", None)
        if not isinstance(one, str) or names is None:
            has = "no names of features" if names is None else f"features {', '.join(names)}"
            raise ParameterError(f"{one!r} is no feature: the model has {has}; give indices")
        listed = [str(name) for name in names]
        try:
            return listed.index(str(known_name(one, listed, "features of the model")))
        except DataError as error:
            raise ParameterError(str(error)) from None

    def _others(self, chosen: NDArray[np.intp], who: str) -> NDArray[np.intp]:
        """Indices of all other features, of which there must be some."""
        others = np.setdiff1d(np.arange(self._mixture.n_features), chosen)
        if not len(others):
            raise ParameterError(f"{who} leaves no feature of {len(chosen)}; name fewer")
        return others

    def _names_of(self, features: NDArray[np.intp]) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(names[i]) for i in features]

    def _over(self, mixture: Mixture, features: NDArray[np.intp]) -> Self:
        """A model of a mixture over some features of this one."""
        model = type(self).from_parameters(
            mixture.weights,
            mixture.means,
            mixture.covariances,
            covariance_type=mixture.kind,
            names=self._names_of(features),
        )
        model.set_params(**{name: getattr(self, name) for name in _KEPT})
        model.set_output(transform=self._container)
        return model
