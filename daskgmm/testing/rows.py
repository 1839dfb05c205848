"""The laws that rows of every kind keep, wherever they are.

Subclass :class:`RowsTests` and override the fixture ``made``. Whatever folds by
:func:`daskgmm.em.rows.tree_sum` over grains of the same rows has the bits of rows in memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from daskgmm.em import InMemoryRows, Rows
from daskgmm.kernel import Block, Float64Array, Mixture, Statistics, e_step, gaussian_mixture

__all__ = ["Made", "RowsTests", "assert_once_in_order", "assert_pieces"]

Made = Callable[[NDArray[Any], Float64Array | None], Sequence[Rows]]
"""Rows that hold ``x`` (n, D), of weights (n,) or None, in every arrangement to be tested."""


def assert_once_in_order(
    rows: Rows, x: NDArray[Any], weight: Float64Array | None = None
) -> list[int]:
    """Hold what comes in a fold against the rows that should; where each grain begins.

    Parameters
    ----------
    rows : Rows
    x : ndarray of shape (n, D)
        What they should be, of the same dtype.
    weight : ndarray of shape (n,), optional
        How often each should count.
    """
    n, d = x.shape
    assert (rows.n_rows, rows.n_features) == (n, d)
    total = float(n) if weight is None else float(weight.sum())
    assert rows.total_weight == pytest.approx(total, rel=1e-13)
    blocks = rows.fold(_blocks)
    starts = [block.start for block in blocks]
    assert starts == np.cumsum([0, *(len(block) for block in blocks[:-1])]).tolist()
    found = np.concatenate([block.x for block in blocks])
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x)
    if weight is None:
        assert all(block.weight is None for block in blocks)
    else:
        weights = [block.weight for block in blocks]
        assert all(part is not None and part.dtype == np.float64 for part in weights)
        np.testing.assert_array_equal(np.concatenate(weights), weight)
    return starts


def assert_pieces(rows: Rows, x: NDArray[Any], weight: Float64Array | None = None) -> None:
    """Hold the pieces of rows against all rows, no two of which are alike.

    Parameters
    ----------
    rows : Rows
    x : ndarray of shape (n, D)
        What they hold.
    weight : ndarray of shape (n,), optional
        How often each counts.
    """
    n_wanted = len(x) // 25
    found = rows.pieces(n_wanted, seed=1)
    assert found is not None
    assert n_wanted <= len(found) <= len(x) // 5
    which = {row.tobytes(): i for i, row in enumerate(x)}
    index = [which[np.ascontiguousarray(row).tobytes()] for row in found.x]
    assert len(set(index)) == len(index), "no row twice"
    assert max(np.diff(sorted(index))) < len(x) // 4, "they are spread over all"
    if weight is None:
        assert found.weight is None
    else:
        np.testing.assert_array_equal(found.weight, weight[index])


class RowsTests:
    """What is true of rows of any kind, with and without weights."""

    grain: ClassVar[int] = 64
    """Rows of a grain, in every arrangement."""

    @pytest.fixture
    def made(self) -> Made:
        """A function that makes rows of given ones; partitions hold a power of two of grains."""
        raise NotImplementedError("give the rows that are to be tested")

    @pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
    def x(self, request: pytest.FixtureRequest) -> NDArray[Any]:
        """Rows, (1003, 3), no two alike."""
        return np.random.default_rng(0).standard_normal((1003, 3)).astype(request.param)

    @pytest.fixture(params=["no weights", "whole weights", "any weights"])
    def weight(self, request: pytest.FixtureRequest, x: NDArray[Any]) -> Float64Array | None:
        """How often each row counts, if that is said; some not at all."""
        rng = np.random.default_rng(1)
        weights = {
            "whole weights": rng.integers(0, 4, len(x)).astype(float),
            "any weights": rng.uniform(0.0, 2.0, len(x)),
        }
        return weights.get(request.param)

    @pytest.fixture
    def mixture(self) -> Mixture:
        """Two components of full covariances, for three features."""
        covariances = np.array([np.eye(3), 0.5 * np.eye(3) + 0.2])
        means = np.array([[-1.0, 0.0, 0.5], [1.0, 0.5, 0.0]])
        return gaussian_mixture(np.array([0.3, 0.7]), means, covariances, "full")

    def test_rows_come_once_in_order_with_their_weights(self, made, x, weight):
        for rows in made(x, weight):
            starts = assert_once_in_order(rows, x, weight)
            assert starts == list(range(0, len(x), self.grain))

    def test_a_fold_has_the_bits_of_rows_in_memory(self, made, x, weight, mixture):
        expected = InMemoryRows(x, self.grain, weight=weight).fold(e_step, mixture)
        for rows in made(x, weight):
            _assert_same_bits(rows.fold(e_step, mixture), expected)
            _assert_same_bits(rows.fold(e_step, mixture), expected)

    def test_a_whole_weight_repeats_a_row(self, made, x, mixture):
        weight = np.random.default_rng(2).integers(0, 4, len(x))
        expected = e_step(Block(np.repeat(x, weight, axis=0)), mixture)
        for rows in made(x, weight.astype(float)):
            found = rows.fold(e_step, mixture)
            assert found.n_rows == len(x), "every row came"
            assert found.weight == rows.total_weight == expected.weight
            # Sums of 1500 terms of order 1 to 10.
            for name, array in expected.sums.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-10)
            np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)

    @pytest.mark.parametrize("columns", [None, 2])
    def test_map_keeps_every_row_in_its_place_and_gives_no_weights(self, made, x, weight, columns):
        expected = np.arange(len(x)) + 10.0 * x[:, 0].astype(np.float64)
        for rows in made(x, weight):
            lazy = rows.map(_places, 10.0, columns, dtype=np.float32, columns=columns)
            found = np.asarray(lazy)
            assert found.dtype == lazy.dtype == np.float32
            assert found.shape == lazy.shape == (len(x), *([] if columns is None else [columns]))
            for column in [found] if columns is None else found.T:
                np.testing.assert_array_equal(column, expected.astype(np.float32))

    def test_pieces_are_some_of_the_rows_with_their_weights(self, made, x, weight):
        for rows in made(x, weight):
            if rows.pieces(n_wanted=40, seed=1) is not None:  # else there are too few chunks
                assert_pieces(rows, x, weight)

    def test_an_error_of_a_block_is_raised_as_it_is(self, made, x, weight):
        for rows in made(x, weight):
            with pytest.raises(RuntimeError, match=f"refused row {2 * self.grain}$"):
                rows.fold(_refuse, 2 * self.grain)
            assert rows.fold(len) == len(x), "rows can be folded again"

    def test_rows_travel(self, made, x, weight, mixture):
        expected = InMemoryRows(x, self.grain, weight=weight).fold(e_step, mixture)
        for rows in made(x, weight):
            again = pickle.loads(pickle.dumps(rows))
            assert_once_in_order(again, x, weight)
            _assert_same_bits(again.fold(e_step, mixture), expected)


def _blocks(block: Block) -> list[Block]:
    weight = None if block.weight is None else np.array(block.weight)
    return [Block(np.array(block.x), block.start, weight)]


def _places(block: Block, factor: float, columns: int | None) -> Float64Array:
    """Index of each row among all, and ``factor`` times its first value."""
    assert block.weight is None, "what is asked of single rows does not depend on weights"
    index = block.start + np.arange(len(block))
    found: Float64Array = index + factor * block.x[:, 0].astype(np.float64)
    return found if columns is None else np.column_stack([found] * columns)


def _refuse(block: Block, start: int) -> int:
    if block.start == start:
        raise RuntimeError(f"refused row {start}")
    return 0


def _assert_same_bits(found: Statistics, expected: Statistics) -> None:
    assert (found.n_rows, found.weight) == (expected.n_rows, expected.weight)
    assert found.log_likelihood == expected.log_likelihood
    for name, array in expected.sums.items():
        assert found[name].tobytes() == array.tobytes(), name
