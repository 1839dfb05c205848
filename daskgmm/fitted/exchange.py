"""Exchange: fitted mixtures from elsewhere and to there: arrays, scikit-learn, files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from sklearn.utils.validation import check_is_fitted

from daskgmm.errors import ParameterError
from daskgmm.fitted.parameters import checked_mixture, covariances_of_factors
from daskgmm.fitted.projection import said_of_dropped
from daskgmm.fitted.state import FittedState
from daskgmm.kernel import FullGaussians, Gaussians, Students, family_of
from daskgmm.record import (
    facts_of_record,
    fitted_as_of_record,
    fixed_of_record,
    names_of_record,
    read_as_of_record,
    record_of,
    settings_of_record,
    units_of_record,
)
from daskgmm.redaction import redacted
from daskgmm.storage import read_model, read_projection, read_statistics, save_model

__all__ = ["Exchanged"]

_KINDS_OF_SKLEARN = ("full", "tied", "diag", "spherical")


class Exchanged(FittedState):
    """A fitted mixture that comes from elsewhere, or goes there."""

    @classmethod
    def from_parameters(
        cls,
        weights: Any,
        means: Any,
        covariances: Any,
        *,
        covariance_type: str | None = None,
        names: Sequence[str] | None = None,
    ) -> Self:
        """A model of parameters that were found elsewhere, as if it were fitted.

        Parameters
        ----------
        weights : array of shape (K,)
            They sum to 1.
        means : array of shape (K, D)
        covariances : array
            Of the type's shape: that of ``covariances_``.
        covariance_type : str, optional
            Needed where the shape of the covariances can be of two types.
        names : sequence of str, optional
            Of the features.

        Returns
        -------
        GaussianMixture
            Ready to predict, score, sample, save, and to start warm from. Facts of a fit, such
            as ``n_iter_``, are None.

        Raises
        ------
        ParameterError
            If no mixture has such parameters.
        """
        mixture = checked_mixture(weights, means, covariances, covariance_type)
        if names is not None and len(names) != mixture.n_features:
            raise ParameterError(
                f"{len(names)} names were given for {mixture.n_features} features", "names"
            )
        model = cls(mixture.n_components, covariance_type=mixture.kind)
        model._set_mixture(mixture)
        model._set_names(names)
        model.__dict__.update(facts_of_record({}, "the model"))
        return model

    @classmethod
    def from_sklearn(cls, model: InMemoryGaussianMixture) -> Self:
        """The same mixture as a fitted ``sklearn.mixture.GaussianMixture``: see :meth:`to_sklearn`.

        Parameters
        ----------
        model : sklearn.mixture.GaussianMixture
            Fitted.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        NotFittedError
            If it is not fitted.
        ParameterError
            If no mixture has its parameters.
        """
        check_is_fitted(model)
        ours = cls.from_parameters(
            model.weights_,
            model.means_,
            covariances_of_factors(model.precisions_cholesky_, model.covariance_type),
            covariance_type=model.covariance_type,
            names=getattr(model, "feature_names_in_", None),
        )
        covariances = np.asarray(getattr(model, "covariances_", ()))
        if covariances.shape == ours.covariances_.shape:
            ours.covariances_ = np.array(covariances, dtype=np.float64)
        known = ours.get_params()
        ours.set_params(**{k: v for k, v in model.get_params().items() if k in known})
        for fact in ("converged_", "n_iter_", "lower_bound_", "lower_bounds_"):
            if hasattr(model, fact):
                setattr(ours, fact, getattr(model, fact))
        return ours

    def save(self, path: Any, *, overwrite: bool = False) -> None:
        """Write the fitted model as a small Zarr group; :func:`load_model` reads it.

        Parameters
        ----------
        path : path or URL
        overwrite : bool, default=False
            Whether a Zarr node at ``path`` may be replaced.

        Raises
        ------
        OutputExistsError
            If there is something at ``path`` and ``overwrite`` is not set.
        """
        save_model(
            path,
            self._mixture,
            self.record(),
            overwrite=overwrite,
            statistics=self._statistics(),
            projection=self._projection,
        )

    @classmethod
    def _loaded(cls, path: Any) -> Self:
        """The model that :meth:`save` wrote; see :func:`daskgmm.load_model`."""
        mixture, record = read_model(path)
        projection = read_projection(path, mixture)
        settings = settings_of_record(record, redacted(str(path)))
        facts = facts_of_record(record, redacted(str(path)))
        known = cls().get_params()
        fitted_as = fitted_as_of_record(record, redacted(str(path)), family_of(mixture.kind))
        model = cls(
            n_components=mixture.n_components,
            covariance_type=fitted_as or family_of(mixture.kind),
            **{
                name: value
                for name, value in settings.items()
                if name in known and name not in ("n_components", "covariance_type")
            },
        )
        model._set_mixture(mixture, read_statistics(path, mixture), projection)
        model._fitted_as = fitted_as
        model._fixed_parts = fixed_of_record(record, redacted(str(path)), mixture.n_components)
        model._set_names(names_of_record(record, redacted(str(path)), model.n_features_in_))
        model._units = units_of_record(record, redacted(str(path)), model.n_features_in_)
        model._read_as = read_as_of_record(record, redacted(str(path)))
        model.__dict__.update(facts)
        return model

    def record(self) -> dict[str, Any]:
        """Facts of the fit as plain values: what is saved beside the parameters.

        Returns
        -------
        dict
            Ready for JSON.
        """
        check_is_fitted(self)
        return record_of(self)

    def to_sklearn(self) -> InMemoryGaussianMixture:
        """The same mixture as a fitted ``sklearn.mixture.GaussianMixture``.

        Covariances of a kind that scikit-learn has not become full ones.
        Parameters without an equivalent in scikit-learn (``"auto"``, and a ``reg_covar`` of
        standardised features) are left at its defaults, so that the estimator can be fitted anew.

        Returns
        -------
        sklearn.mixture.GaussianMixture

        Raises
        ------
        ParameterError
            If the model is of projected features, or has noise, t components or constant columns
            that were left out.
        """
        self._check_for_sklearn()
        mixture, components = self._mixture, self._mixture.components
        assert isinstance(components, Gaussians)
        theirs, ours = InMemoryGaussianMixture().get_params(), self.get_params()
        shared = {
            name: ours[name]
            for name in theirs
            if name in ours and not (name in ("tol", "reg_covar") and ours[name] == "auto")
        }
        if self.standardize:
            shared.pop("reg_covar", None)
        shared["covariance_type"] = mixture.kind  # of spherical ones that were standardised: diag
        if mixture.kind not in _KINDS_OF_SKLEARN:
            components = FullGaussians(components.means, components.dense())
            shared["covariance_type"] = components.kind
        model = InMemoryGaussianMixture(**shared)
        model.weights_, model.means_ = np.array(mixture.weights), np.array(components.means)
        model.covariances_ = np.array(components.covariances)
        model.precisions_cholesky_ = np.array(components.factors)
        model.precisions_ = np.array(components.precisions)
        model.converged_, model.n_iter_ = self.converged_, self.n_iter_
        model.lower_bound_, model.lower_bounds_ = self.lower_bound_, list(self.lower_bounds_)
        model.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_.copy()
        return model

    def _check_for_sklearn(self) -> None:
        """Raise ParameterError if scikit-learn has no such mixture."""
        if isinstance(self._mixture.components, Students):
            raise ParameterError(
                "the model has t components, which scikit-learn's mixture cannot have: fit without "
                "tails, or take weights_, means_, covariances_ and degrees_of_freedom_ from it",
                "tails",
            )
        if self._mixture.noise is not None:
            raise ParameterError(
                "the model has noise, which scikit-learn's mixture cannot have: fit without noise, or "
                "take weights_, means_ and covariances_ from it",
                "noise",
            )
        projection = self._projection
        if said := said_of_dropped(projection, getattr(self, "feature_names_in_", None)):
            raise ParameterError(
                f"the model has {said}, which scikit-learn's mixture cannot have: fit the other "
                "columns alone",
                "constant",
            )
        if projection is not None:
            raise ParameterError(
                "the model is of projected features, which scikit-learn's mixture cannot have: fit "
                f"make_pipeline(StandardScaler(), PCA({projection.n_out}), GaussianMixture(...)) of "
                "scikit-learn, or this class without n_projected",
                "n_projected",
            )
