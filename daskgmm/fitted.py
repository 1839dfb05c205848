"""FittedMixture: what a mixture that has been fitted says of rows, and how it is kept.

It is the half of the estimator that needs no settings of a fit: labels, probabilities, densities,
criteria, draws, and the ways in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from sklearn.utils import check_random_state, estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from daskgmm.em import (
    Fit,
    Score,
    check_complete,
    check_finite,
    label_rows,
    log_densities,
    of_complete,
    of_mapped,
    probabilities,
    score_rows,
)
from daskgmm.errors import ParameterError
from daskgmm.execution import MixtureSize, Work
from daskgmm.kernel import (
    Affine,
    FullGaussians,
    Gaussians,
    Mixture,
    Statistics,
    count_parameters,
    gaussian_mixture,
)
from daskgmm.parameters import checked_mixture, covariances_of_factors
from daskgmm.record import (
    facts_of_record,
    record_of,
)
from daskgmm.shown import html_of
from daskgmm.storage import save_model
from daskgmm.tables import (
    CONTAINERS,
    OpenedRows,
    Use,
    Weights,
    check_features,
    columns_named,
    open_input,
    open_weights,
    returned,
    with_columns_named,
)

__all__ = ["FittedMixture"]

_KINDS_OF_SKLEARN = ("full", "tied", "diag", "spherical")


_OF_PROJECTION = ("projected_means_", *(f"projection_{n}_" for n in ("shift", "scale", "matrix")))
"""Attributes that only models of projected rows have."""


class FittedMixture(DensityMixin, BaseEstimator):
    """A mixture with fitted attributes; :class:`~daskgmm.GaussianMixture` adds the fit."""

    def _set_mixture(
        self,
        mixture: Mixture,
        statistics: Statistics | None = None,
        projection: Affine | None = None,
    ) -> None:
        """Set the parameters; those of projected rows with their projection."""
        components = mixture.components
        assert isinstance(components, Gaussians)
        self.weights_ = np.array(mixture.weights)
        self.means_ = np.array(components.means)
        for name in _OF_PROJECTION:  # of an earlier fit
            self.__dict__.pop(name, None)
        if projection is not None:
            self.projected_means_, self.means_ = self.means_, projection.back(components.means)
            for name in ("shift", "scale", "matrix"):
                setattr(self, f"projection_{name}_", np.array(getattr(projection, name)))
        self.covariances_ = np.array(components.covariances)
        self.precisions_cholesky_ = np.array(components.factors)
        self.precisions_ = np.array(components.precisions)
        self.n_features_in_ = self.means_.shape[1]
        self._fitted_type = mixture.kind  # the parameter may be set anew
        self._fitted_as = None
        self._kept = None if statistics is None else (mixture, statistics)

    _fitted_type: str | None = None
    _fitted_as: str | None = None
    """Kind of the components that were fitted to mapped rows; None where that is their kind."""
    _kept: tuple[Mixture, Statistics] | None = None
    """The fitted mixture, and the statistics of the last pass over the rows it was fitted to."""
    _ended: Fit | None = None
    _order: NDArray[np.intp] | None = None
    """Places that the components had in the fit; None if they have them still."""
    _unit_of_weights = 1.0
    """What weights were multiplied by in the fit."""
    _known_as: str | None = None
    """What a job knows the rows by."""
    _blurred = ""
    _past: tuple[float, ...] = ()
    """Log-likelihoods of the last two accepted passes, over fits that went on from each other."""

    def _set_names(self, names: Sequence[str] | None) -> None:
        """Keep the names of the features, and none of an earlier fit."""
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    @property
    def _projection(self) -> Affine | None:
        """The map onto the features that the mixture is of; None where they are the data's."""
        if not hasattr(self, "projection_matrix_"):
            return None
        return Affine(self.projection_shift_, self.projection_scale_, self.projection_matrix_)

    @property
    def _mixture(self) -> Mixture:
        check_is_fitted(self)
        kind = self._fitted_type or self.covariance_type
        if not (hasattr(self, "weights_") and hasattr(self, "means_")):
            raise NotFittedError("weights_ and means_ must be set by fit, or both by hand")
        if hasattr(self, "covariances_"):
            covariances = self.covariances_
        elif hasattr(self, "precisions_cholesky_"):
            covariances = covariances_of_factors(self.precisions_cholesky_, kind)
        else:
            raise NotFittedError(
                "weights_ and means_ are set, but neither covariances_ nor precisions_cholesky_"
            )
        means = getattr(self, "projected_means_", self.means_)
        return gaussian_mixture(self.weights_, means, covariances, kind)

    def _is_still(self, mixture: Mixture) -> bool:
        """Whether the parameters are a mixture's: they may have been set by hand since."""
        now = self._mixture
        ours, theirs = now.components.arrays, mixture.components.arrays
        return (
            now.kind == mixture.kind
            and np.array_equal(now.weights, mixture.weights)
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
        return count_parameters(self._fitted_as or mixture.kind, *mixture.means.shape)

    # -- what the mixture says of rows -----------------------------------------

    def predict(self, X: Any) -> Any:
        """Most probable component of each row, shape (n_rows,), int64.

        A NumPy array for data in memory; a lazy Dask array for data that are lazy; or as
        :meth:`set_output` says. For an
        xarray.DataArray or Dataset, a DataArray on the same dimensions and coordinates, which is
        lazy if the data are; -2 marks cells in which a feature is NaN.
        """
        return self._of_rows(X, label_rows, np.int64, "labels")

    def predict_proba(self, X: Any) -> Any:
        """Probability of each component given each row, (n_rows, K); lazy as :meth:`predict`."""
        return self._of_rows(X, probabilities, np.float64, "probabilities")

    def score_samples(self, X: Any) -> Any:
        """Log density of each row, in nats, shape (n_rows,); lazy as :meth:`predict`.

        Of a model with ``n_projected`` it is that of the projected features.
        """
        return self._of_rows(X, log_densities, np.float64, "log_density")

    def score(self, X: Any, y: None = None, sample_weight: Any = None) -> float:
        """Mean log density of the rows, in nats, by their weights if given.

        It takes one pass, and another one for cells of xarray on Dask, to count those without gaps.
        """
        return self._score(X, sample_weight).log_likelihood_per_row

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Akaike's information criterion of the rows; lower is better; passes as :meth:`score`.

        Its log-likelihood is the sum over rows, each times its weight.
        """
        return self.criteria(X, sample_weight).aic

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Bayesian information criterion of the rows; lower is better; passes as :meth:`score`.

        With weights, N is their sum and the log-likelihood the sum over rows, each times its
        weight: the criterion of rows that were seen so often. Weights that are no counts, such
        as areas or probabilities of selection, have to be scaled so that their sum is the
        number of rows that they tell as much as, or it means little.

        Warns
        -----
        DaskGMMWarning
            If the sum of the weights is far below that number.
        """
        return self.criteria(X, sample_weight).bic

    def criteria(self, X: Any, sample_weight: Any = None) -> Score:
        """Log-likelihood, AIC, BIC and ICL of the rows, at once; see :meth:`score`, :meth:`bic`."""
        weights = None if sample_weight is None else self._open_weights(sample_weight, X)
        if weights is not None:
            weights.warn_if_no_counts()
        return self._score(X, weights)

    def _score(self, x: Any, sample_weight: Any) -> Score:
        is_open = sample_weight is None or isinstance(sample_weight, Weights)
        weights = sample_weight if is_open else self._open_weights(sample_weight, x)
        opened = self._open(x, weights)
        with columns_named(opened.feature_names):
            found = score_rows(opened.mapped(self._projection).rows, self._mixture)
        return replace(found, n_parameters=self._n_parameters())

    def _open_weights(self, given: Any, x: Any) -> Weights:
        return open_weights(given, x, getattr(self, "feature_names_in_", None))

    def _of_rows(self, x: Any, function: Callable[..., Any], dtype: Any, name: str) -> Any:
        mixture, opened = self._mixture, self._open(x, counted=False)
        about = returned(name, mixture.n_components)
        columns = about.shape[0] if about.shape else None
        work: tuple[Any, ...] = (function, mixture)
        if opened.laid_out is not None:
            work = (of_complete, *work, about.fill)
        if (projection := self._projection) is not None:
            check = check_finite if opened.laid_out is None else check_complete
            work = (of_mapped, projection, check, *work)
        if opened.feature_names is not None:
            work = (with_columns_named, opened.feature_names, *work)
        container = self._container
        if container == "pandas" and opened.framed is not None:
            none = np.empty((0,) if columns is None else (0, columns), dtype)
            return opened.framed(work[0], work[1:], about, none)
        found = opened.rows.map(*work, dtype=dtype, columns=columns)
        if opened.laid_out is not None:
            return opened.laid_out(found, about)
        return CONTAINERS[container](found, about, x)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `predict`, `predict_proba` and `score_samples` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            ``"default"``: arrays. ``"pandas"``: Series ``labels`` and ``log_density``, and a
            DataFrame of probabilities with columns ``component_0`` and so on, with the index of
            a DataFrame that came in; of a Dask DataFrame, Dask's, with its partitions and index;
            of other lazy data, Dask's with an index of their own. ``"polars"``: the same of
            polars, for data in memory. None leaves the choice as it was. Results for xarray
            are xarray's in any case.

        Returns
        -------
        self
            ``sklearn.base.clone`` keeps the choice.

        Raises
        ------
        ParameterError
            If it is none of these.

        Notes
        -----
        ``sklearn.set_config(transform_output=...)`` is not followed: there, it changes what
        transformers return, and never what labels and densities are returned in.
        """
        if transform is None:
            return self
        if transform not in CONTAINERS:
            raise ParameterError(
                f"transform must be one of {', '.join(CONTAINERS)}; got {transform!r}", "transform"
            )
        self._sklearn_output_config = {"transform": transform}  # where scikit-learn's clone has it
        return self

    @property
    def _container(self) -> str:
        return getattr(self, "_sklearn_output_config", {}).get("transform", "default")

    def _open(self, x: Any, weights: Weights | None = None, *, counted: bool = True) -> OpenedRows:
        """Rows for a single pass."""
        mixture = self._mixture
        names = getattr(self, "feature_names_in_", None)
        opened = open_input(
            x,
            Work((MixtureSize.of(mixture),)),
            memory_limit=self.memory_limit,
            weights=weights,
            use=Use(counted, names=None if names is None else tuple(names)),
        )
        projection = self._projection
        check_features(
            (mixture.n_features if projection is None else projection.n_in, names),
            (opened.rows.n_features, opened.feature_names),
            type(self).__name__,
            opened.name,
        )
        return opened

    def sample(self, n_samples: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Grouped by component, as in scikit-learn. Rows of a model with ``n_projected`` lie on
            its axes.
        y : ndarray of shape (n_samples,)
            Component of each row.
        """
        mixture = self._mixture
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ParameterError(
                f"Invalid value for 'n_samples': a whole number of 1 or more; got {n_samples}"
            )
        rng = check_random_state(self.random_state)
        counts = rng.multinomial(n_samples, mixture.weights / mixture.weights.sum())
        generator = np.random.default_rng(rng.randint(2**31 - 1))
        drawn = np.vstack(
            [mixture.components.sample(generator, k, n) for k, n in enumerate(counts)]
        )
        if (projection := self._projection) is not None:
            drawn = projection.back(drawn)
        return drawn, np.repeat(np.arange(len(counts)), counts)

    # -- in notebooks, where scikit-learn has a diagram of parameters -------------------

    def _html_repr(self) -> str:
        if not hasattr(self, "weights_"):
            return str(estimator_html_repr(self))
        mixture, n_rows = self._mixture, getattr(self, "n_rows_", None)
        names, d = getattr(self, "feature_names_in_", None), mixture.n_features
        of = f"feature{'s' * (d > 1)}"
        if (projection := self._projection) is not None:
            names = [f"axis {i}" for i in range(d)]
            of = f"ax{'e' if d > 1 else 'i'}s of {projection.n_in} features"
        facts = [
            f"{type(self).__name__}: {mixture.n_components} {mixture.kind} components in {d} {of}"
        ]
        if n_rows is not None:
            facts.append(f"{n_rows:,} rows")
        if getattr(self, "lower_bound_", None) is not None:
            facts.append(f"log-likelihood per row {self.lower_bound_:.6g}")
        if getattr(self, "converged_", None) is False:
            facts.append("not converged")
        return html_of(mixture, names, facts)

    def _repr_html_inner(self) -> str:
        return self._html_repr()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/html": self._html_repr()} if "text/html" in bundle else bundle

    # -- in and out ------------------------------------------------------------

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
            Full (K, D, D), tied (D, D), diag (K, D) or spherical (K,).
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
            If they are no mixture's.
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

        Raises
        ------
        NotFittedError
            If it is not fitted.
        ParameterError
            If its parameters are no mixture's.
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

    def record(self) -> dict[str, Any]:
        """Facts of the fit as plain values: what is saved beside the parameters."""
        check_is_fitted(self)
        return record_of(self)

    def to_sklearn(self) -> InMemoryGaussianMixture:
        """The same mixture as a fitted ``sklearn.mixture.GaussianMixture``.

        Covariances of a kind that scikit-learn has not become full ones.
        What scikit-learn has no equivalent of (``"auto"``, and a ``reg_covar`` of standardised
        features) is left at its default, so that it can be fitted anew.

        Raises
        ------
        ParameterError
            If the model is of projected features.
        """
        if (projection := self._projection) is not None:
            raise ParameterError(
                "the model is of projected features, which scikit-learn's mixture has not: fit "
                f"make_pipeline(StandardScaler(), PCA({projection.n_out}), GaussianMixture(...)) of "
                "scikit-learn, or this class without n_projected",
                "n_projected",
            )
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
