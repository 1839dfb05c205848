"""Imputing: rows with numbers in place of missing values, by what a fitted mixture says of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from daskgmm.em import imputed_rows
from daskgmm.errors import ParameterError
from daskgmm.fitted.of_rows import OfRows
from daskgmm.kernel import Affine, Mixture, has_density_of_parts
from daskgmm.tables import as_given, columns_of, of_features

__all__ = ["Imputing", "check_imputes", "seed_of_draws"]


def check_imputes(mixture: Mixture, projection: Affine | None) -> None:
    """Refuse a mixture that has no density of some features of a row.

    Raises
    ------
    ParameterError
    """
    if projection is not None or not has_density_of_parts(mixture):
        raise ParameterError(
            "impute needs a density of the features that a row has, which models of projected "
            "features, with noise, and of t components do not have; fit without n_projected, "
            "constant='drop', noise and tails"
        )


def seed_of_draws(random_state: Any) -> int:
    """The number that decides, with the index of a row, what is drawn for it."""
    return int(check_random_state(random_state).randint(2**31 - 1))


class Imputing(OfRows):
    """What a fitted mixture puts in place of missing values."""

    def impute(self, X: Any, draw: bool = False) -> Any:
        """The same rows with numbers in place of missing values.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            As for :meth:`predict`; NaN is missing, whatever ``missing`` of the fit says.
        draw : bool, default=False
            Whether to draw from the distribution of what is missing given what is there, as multiple
            imputation does, and not to take its mean. ``random_state`` and the index of a row decide
            what is drawn for it; cells on Dask are numbered block after block.

        Returns
        -------
        array, Dask array, table, Dataset or DataArray, as `X` is
            Lazy for lazy rows; a DataArray for stored grids. Rows that have no value stay missing.

        Raises
        ------
        ParameterError
            If the mixture has no density of some features of a row: of projected features, with
            noise, or of t components. If rows are to be drawn whose chunks are of unknown size.
        DataError
            If the rows cannot be used.

        References
        ----------
        Ghahramani and Jordan (1994), Supervised learning from incomplete data via an EM approach.
        """
        mixture = self._mixture
        check_imputes(mixture, self._projection)
        seed = seed_of_draws(self.random_state) if draw else None
        X = self._as_fitted(X)
        opened = self._open(X, counted=False, missing="em")
        if draw and (opened.framed is not None or np.isnan(getattr(X, "shape", (0,))[0])):
            raise ParameterError(
                "draw=True needs the index of each row, and partitions of these rows are of unknown "
                "size; give .to_dask_array(lengths=True) of a Dask DataFrame, or call "
                "compute_chunk_sizes() of an array",
                "draw",
            )
        function, dtype = partial(imputed_rows, seed=seed), opened.dtype
        names = columns_of(X, opened)
        if opened.framed is not None:
            about = of_features("imputed", "the row without gaps", names)
            return opened.framed(function, (mixture,), about, np.empty((0, len(names)), dtype))
        found = opened.rows.map(function, mixture, dtype=dtype, columns=mixture.n_features)
        return as_given(found, X, names, opened)
