"""Of rows: what a fitted mixture says of them, and rows that it makes.

Labels, probabilities, densities and draws.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from daskgmm.em import (
    Missing,
    check_complete,
    check_deconvolves,
    check_density_of_parts,
    check_finite,
    check_no_noise,
    label_rows,
    labels_of_inliers,
    log_densities,
    of_mapped,
    of_present,
    probabilities,
)
from daskgmm.errors import ParameterError, warn
from daskgmm.execution import MixtureSize, Work
from daskgmm.fitted.state import FittedState
from daskgmm.kernel import Block
from daskgmm.settings import MISSING
from daskgmm.tables import (
    CONTAINERS,
    OpenedRows,
    Returned,
    Use,
    Weights,
    check_features,
    check_units,
    open_as_fitted,
    open_input,
    open_measurement_noise,
    open_weights,
    results_named,
    returned,
    with_columns_named,
)

__all__ = ["OfRows"]


_COUNT_ONCE = (
    "the model was fitted to rows with weights, and these rows count once each; sample_weight "
    "(--weights) says how often they count"
)


class OfRows(FittedState):
    """What a fitted mixture says of rows."""

    def predict(self, X: Any, *, mark_outliers: bool = False, measurement_noise: Any = None) -> Any:
        """Most probable component of each row, shape (n_rows,), int64; -1 for noise.

        It is a NumPy array for data in memory, a lazy Dask array for data that are lazy, or what
        :meth:`set_output` asked for. For an xarray.DataArray or Dataset it is a DataArray on the
        same dimensions and coordinates, which is lazy if the data are. -2 marks cells in which a
        feature is NaN, and rows that are left out as ``missing`` of the fit says; probabilities and
        densities of these are NaN.

        What is written declares -2 as its ``_FillValue``, as :func:`daskgmm.job.predict` does: xarray
        opens such labels as floats, with NaN for -2, and as the integers that are stored with
        ``xr.open_zarr(path, mask_and_scale=False)``.

        With ``measurement_noise``, what is said of a row is said of what was measured; so it is by
        :meth:`predict_proba`, :meth:`score_samples`, :meth:`score` and the criteria.

        Parameters
        ----------
        X : rows
            As for :meth:`fit`, with the features of the fit.
        mark_outliers : bool, default=False
            Whether rows beyond the threshold that :meth:`set_threshold` set get the label -1, too.
        measurement_noise : array, optional
            Variances of the noise of each value, or its covariances, as for :meth:`fit`.

        Returns
        -------
        array, Series or DataArray of shape (n_rows,), int64

        Raises
        ------
        ParameterError
            If no threshold was set, or ``mark_outliers`` goes with ``measurement_noise``.
        """
        if not mark_outliers:
            about = self._returned("labels")
            return self._of_rows(X, label_rows, np.int64, about, measurement_noise)
        check_no_noise(measurement_noise)
        threshold = self._known_threshold()
        (labels,) = results_named("labels", threshold)
        function = partial(labels_of_inliers, threshold=threshold)
        return self._of_rows(X, function, np.int64, labels.arrays(self._mixture.classes)[0])

    def predict_proba(self, X: Any, measurement_noise: Any = None) -> Any:
        """Probability of each component given each row, (n_rows, K); lazy as :meth:`predict`.

        Parameters
        ----------
        X, measurement_noise
            As for :meth:`predict`.

        Returns
        -------
        array, DataFrame or DataArray of shape (n_rows, K), float64
            With ``noise``, that of noise follows in one more column, so that rows sum to 1.
        """
        about = self._returned("probabilities")
        return self._of_rows(X, probabilities, np.float64, about, measurement_noise)

    def score_samples(self, X: Any, measurement_noise: Any = None) -> Any:
        """Log density of each row, in nats, shape (n_rows,); lazy as :meth:`predict`.

        Parameters
        ----------
        X, measurement_noise
            As for :meth:`predict`.

        Returns
        -------
        array, Series or DataArray of shape (n_rows,), float64
            Of a model with ``n_projected`` it is that of the projected features.
        """
        about = self._returned("log_density")
        return self._of_rows(X, log_densities, np.float64, about, measurement_noise)

    def _as_fitted(self, x: Any) -> Any:
        """What a path or URL means as rows, by default as the rows of the fit were read."""
        if self._read_as is None or not isinstance(x, str | os.PathLike):
            return x
        return open_as_fitted(x, self._read_as)

    def _warn_if_forgotten(self, given: Any) -> None:
        """Warn that rows count once each, where those of the fit had weights and these have none."""
        if given is None and self._is_weighted:
            warn(_COUNT_ONCE)

    def _open_weights(self, given: Any, x: Any) -> tuple[Any, Weights | None]:
        """The rows without the column that their weights are, if they are one; and the weights."""
        self._warn_if_forgotten(given)
        if given is None or isinstance(given, Weights):
            return x, given
        return open_weights(given, x, getattr(self, "feature_names_in_", None), self.missing)

    def _returned(self, name: str) -> Returned:
        return returned(name, self._mixture.classes)

    def _of_rows(
        self,
        x: Any,
        function: Callable[..., Any],
        dtype: Any,
        about: Returned,
        measurement_noise: Any = None,
    ) -> Any:
        """``function(block, mixture)`` of all rows, in the container that is asked for."""
        (found,) = self._results_of_rows(x, function, dtype, [about], measurement_noise)
        return found

    def _results_of_rows(
        self,
        x: Any,
        function: Callable[..., Any],
        dtype: Any,
        abouts: Sequence[Returned],
        measurement_noise: Any = None,
    ) -> list[Any]:
        """Results that ``function(block, mixture)`` finds side by side, each as :meth:`_of_rows`.

        Several results have columns, and one fill.
        """
        x, about = self._as_fitted(x), abouts[0]
        # Noise beside rows has to be cut as they are.
        counted = measurement_noise is not None
        opened = self._open(x, counted=counted, measurement_noise=measurement_noise)
        mixture = self._mixture
        columns = sum(one.shape[0] for one in abouts) if about.shape else None
        parts = _parts_of(abouts)
        work: tuple[Any, ...] = (function, mixture)
        is_of_cells = opened.laid_out is not None and self.missing == "error"
        missing: Missing = "drop" if is_of_cells else self.missing
        if missing != "error":
            work = (of_present, *work, about.fill, missing)
            dtype = np.promote_types(dtype, np.int8)  # booleans have no value for gaps
        if (projection := self._projection) is not None:
            check = check_finite if missing == "error" else check_complete
            work = (of_mapped, projection, check, *work)
        if opened.feature_names is not None:
            work = (with_columns_named, opened.feature_names, *work)
        container = self._container
        if container == "pandas" and opened.framed is not None:
            return [
                opened.framed(_part_of, (part, *work), one, np.empty((0, *one.shape), dtype))
                for one, part in zip(abouts, parts, strict=True)
            ]
        found = opened.rows.map(*work, dtype=dtype, columns=columns)
        results = zip([found[part] for part in parts], abouts, strict=True)
        if opened.laid_out is not None:
            return [opened.laid_out(*result) for result in results]
        return [CONTAINERS[container](*result, x) for result in results]

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `predict`, `predict_proba` and `score_samples` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            ``"default"``: arrays. ``"pandas"``: Series ``labels`` and ``log_density``, and a
            DataFrame of probabilities with columns ``component_0`` and so on, and ``noise`` for
            models with noise. They have the index of a DataFrame that came in. For a Dask
            DataFrame they are Dask's, with its partitions and index; for other lazy data, Dask's
            with an index of their own. ``"polars"``: the same of polars, for data in memory. None
            leaves the choice as it was. Results for xarray are xarray's in any case.

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

    def _open(
        self,
        x: Any,
        weights: Weights | None = None,
        *,
        counted: bool = True,
        sum_bytes: int = 0,
        missing: Missing | None = None,
        measurement_noise: Any = None,
    ) -> OpenedRows:
        """Rows for a single pass; ``missing`` is by default what it was in the fit."""
        mixture = self._mixture
        names = getattr(self, "feature_names_in_", None)
        MISSING.check(self.missing)
        missing = missing or self.missing
        check_density_of_parts(missing, mixture, self._projection)
        noise = None
        if measurement_noise is not None:
            check_deconvolves(mixture, self._projection)
            noise = open_measurement_noise(measurement_noise, x)
        named = None if names is None else tuple(names)
        opened = open_input(
            x,
            Work((MixtureSize.of(mixture),), sum_bytes=sum_bytes),
            memory_limit=self.memory_limit,
            weights=weights,
            use=Use(counted, names=named, missing=missing, measurement_noise=noise),
        )
        self._check_features(opened)
        return opened

    def _check_features(self, opened: OpenedRows) -> None:
        """Refuse rows of other features than the mixture was fitted to; warn of other units."""
        mixture, projection = self._mixture, self._projection
        names = getattr(self, "feature_names_in_", None)
        check_features(
            (mixture.n_features if projection is None else projection.n_in, names),
            (opened.rows.n_features, opened.feature_names),
            type(self).__name__,
            opened.name,
        )
        check_units(self._units, opened.feature_units, names, opened.name)

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
            Component of each row; -1 for noise, which comes last and is drawn from ``noise_box_``.
        """
        mixture = self._mixture
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ParameterError(
                f"Invalid value for 'n_samples': a whole number of 1 or more; got {n_samples}"
            )
        rng = check_random_state(self.random_state)
        counts = rng.multinomial(n_samples, mixture.probabilities_of_classes)
        generator = np.random.default_rng(rng.randint(2**31 - 1))
        drawn = mixture.sample(generator, counts)
        if (projection := self._projection) is not None:
            drawn = projection.back(drawn)
        return drawn, np.repeat(np.array(mixture.classes), counts)


def _parts_of(abouts: Sequence[Returned]) -> list[Any]:
    """Where each of some results is in an array of them side by side."""
    if len(abouts) == 1:
        return [...]
    ends = accumulate((one.shape[0] for one in abouts), initial=0)
    return [np.s_[:, start:stop] for start, stop in pairwise(ends)]


def _part_of(block: Block, part: Any, function: Callable[..., Any], *args: Any) -> Any:
    return function(block, *args)[part]
