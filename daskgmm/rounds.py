"""Rounds: what a job does where its data have changed since it was done.

The first round fits. What a later one does with new data, the key ``on_new_data`` says: fit anew
from the last model, update the model with rows that are all new, or keep the model and only write
what there is for each row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from daskgmm import job
from daskgmm.estimator import GaussianMixture, load_model
from daskgmm.jobfile import Job
from daskgmm.plain_json import plain_json
from daskgmm.settings import HALF_LIFE, OPTIONS
from daskgmm.source import Source
from daskgmm.storage import StoredSource, read_model
from daskgmm.tables import Grid

__all__ = ["ADDS_ROWS", "KEEPS_MODEL", "ROUNDS", "Round", "RowsSeen", "mark_of", "said_of_model"]

KEEPS_MODEL = "predict"
"""The round that has no new model."""

ADDS_ROWS = "update"
"""The round that takes every row for a new one."""

_AS_BEFORE = {"order": "previous", "stepper": "surrogate"}
"""Settings of a fit that goes on from a model: a start that is given would make it plain EM."""

_WHERE = tuple(o.name for o in OPTIONS if "update" in o.commands)
"""Settings of an update that no model has."""


_PIECE_ROWS, _N_PIECES, _MOST_PIECES, _FEWEST_PIECES = 64, 8, 24, 3
"""Rows of a piece; pieces that are noted, and that are looked at for them; and how many must differ for
rows to be known by them."""


@dataclass(frozen=True)
class RowsSeen:
    """Rows that a model has seen, as far as is needed to know them again among others.

    They are known by pieces at places that follow from their number, so that no period of the data is
    theirs. A piece whose rows are alike, such as cells of land, tells nothing.

    Attributes
    ----------
    n_rows : int
    starts : list of int
        First row of each piece.
    digests : list of str
        Of each piece.
    """

    n_rows: int
    starts: list[int]
    digests: list[str]

    @classmethod
    def of(cls, source: Source) -> Self:
        """All rows of a source, of which the pieces alone are read."""
        n = source.shape[0]
        starts, digests = list[int](), list[str]()
        last = n - _PIECE_ROWS
        places = (
            np.random.RandomState(n % 2**32).randint(0, max(1, last + 1), _MOST_PIECES).tolist()
        )
        for start in [0, last, *places] if last > 0 else []:
            if len(digests) < _N_PIECES and (digest := _digest(source, start)) is not None:
                starts.append(start)
                digests.append(digest)
        return cls(n, starts, digests)

    def are_at_an_end_of(self, source: Source) -> bool:
        """Whether a source begins or ends with these rows, as far as the pieces tell."""
        first_of_last = source.shape[0] - self.n_rows
        if first_of_last < 0 or len(set(self.digests)) < _FEWEST_PIECES:
            return False
        return any(
            all(
                _digest(source, first + start) == digest
                for start, digest in zip(self.starts, self.digests, strict=True)
            )
            for first in {0, first_of_last}
        )


def _digest(source: Source, start: int) -> str | None:
    """Digest of a piece of the rows of a source; None where they are alike, or have no value."""
    values = np.ascontiguousarray(source.read(start, start + _PIECE_ROWS), dtype="<f8")
    there = values[~np.isnan(values).any(axis=1)]
    if len(there) == 0 or (there == there[0]).all():
        return None
    return hashlib.sha256(values.tobytes()).hexdigest()[:32]


class Round:
    """Rows of a job, and what its model is to know them by.

    Parameters
    ----------
    asked : Job
    source : StoredSource or Grid
    weights : Any
        How often each row counts, as :meth:`GaussianMixture.fit` takes it, or None.
    mark : str
    """

    def __init__(self, asked: Job, source: StoredSource | Grid, weights: Any, mark: str) -> None:
        self._asked, self._source, self._weights, self._mark = asked, source, weights, mark
        self._place: str = asked.outputs["model"]

    @property
    def is_done(self) -> bool:
        """Whether the model has seen these rows: the job was killed before it could note that.

        Otherwise an update would count them twice.
        """
        return read_model(self._place)[1].get("known_as") == self._mark

    def refit(self) -> dict[str, Any]:
        """Fit anew, from the last model, with its components in their order."""
        last, given = load_model(self._place), self._asked.settings
        start: dict[str, Any] = {"weights_init": last.weights_, "means_init": last.means_}
        # Neither axes nor the scale that spherical ones had are those of the rows there are now.
        if last._fitted_as is None and given.get("n_projected") is None:
            start["precisions_init"] = last.precisions_
        as_before = dict(_AS_BEFORE)
        if given.get("fixed"):  # so that components keep their numbers
            del as_before["order"]
        model = GaussianMixture(**{**as_before, **given, **start}, resume=True)
        model._known_as = self._mark
        return job.fit(
            self._source, self._place, model, sample_weight=self._weights, overwrite=True
        )

    def update(self) -> dict[str, Any]:
        """Go on with the rows, all of which are new."""
        return job.update(
            self._source,
            self._place,
            known_as=self._mark,
            settings={name: self._asked.get(name) for name in _WHERE},
            sample_weight=self._weights,
            half_life=self._asked.get(HALF_LIFE.name),
        )


ROUNDS: dict[str, Callable[[Round], dict[str, Any]]] = {
    "refit": Round.refit,
    ADDS_ROWS: Round.update,
}
"""What makes the model of a round, by the words of ``on_new_data``; as of :mod:`daskgmm.job`."""


def said_of_model(made: Mapping[str, Any]) -> list[str]:
    """For people, what to know of the model that a step made: what an update found, and notes."""
    said = []
    if update := made.get("update"):
        said.append(
            f"{update['n_rows']:,} new rows have a log-likelihood per row of "
            f"{update['log_likelihood_before']:.9g} under the model before, and of "
            f"{update['log_likelihood_after']:.9g} now"
        )
    if note := made.get("note"):
        said.append(f"note: {note}")
    return said


def mark_of(data: Mapping[str, Any]) -> str:
    """What a model knows rows by: a digest of what tells them from others."""
    text = json.dumps(plain_json(data), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
