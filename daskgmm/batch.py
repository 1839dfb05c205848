"""Batch jobs: one job file from stored rows to all its outputs, however often it is begun.

A job is a few steps, each of which writes its outputs whole. Steps that are done are noted
beside the checkpoints. So a job that was interrupted goes on with the step that it was at, one
that has ended does nothing, and one whose data or settings have changed is refused.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from daskgmm import job
from daskgmm.checkpoints import may_pass
from daskgmm.descriptions import info
from daskgmm.errors import (
    CheckpointError,
    ClusterError,
    InterruptedFitError,
    StorageError,
)
from daskgmm.estimator import GaussianMixture
from daskgmm.events import Message, teller
from daskgmm.job_places import check_places
from daskgmm.jobfile import Job
from daskgmm.plain_json import plain_json
from daskgmm.rounds import (
    ADDS_ROWS,
    KEEPS_MODEL,
    ROUNDS,
    Round,
    RowsSeen,
    mark_of,
    said_of_model,
)
from daskgmm.rules import names_of
from daskgmm.selection import candidate_models
from daskgmm.settings import KEEP, LABELS, MEASUREMENT_NOISE, RESULTS, WEIGHTS, Option
from daskgmm.source import Source
from daskgmm.storage import (
    CHECKPOINT_FILE,
    Location,
    StateFile,
    StoredSource,
    check_output,
    check_text_output,
    held,
    said_of_changes,
    write_text,
)
from daskgmm.tables import (
    Grid,
    check_keep,
    check_rows_output,
    open_column,
    open_rows,
    weights_beside,
)

__all__ = ["Batch", "check_places"]

_ROWS = {"labels": "labels", "probabilities": "probabilities", "scores": "log_density"}
"""Outputs with a row for each row of the data, and their names in :func:`daskgmm.job.predict`."""

_RESULTS = "results"
"""The output that holds what the key of that name says, side by side."""


@dataclass(frozen=True)
class _Progress:
    """How far a job has come.

    Attributes
    ----------
    job_file : str
        Address of the job file.
    begun, done : list of str
        Addresses of the outputs that were begun, and of those that are whole.
    on_new_data : str
        What the round in hand does with new data; empty in the first.
    seen : list of RowsSeen
        The rows that the model has seen, one entry for each round; empty if an older version began
        the job.
    """

    job_file: str
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    on_new_data: str = ""
    seen: list[RowsSeen] = field(default_factory=list)


@dataclass(frozen=True)
class _Step:
    """Outputs that are written together.

    Attributes
    ----------
    name : str
    outputs : mapping
        Their paths or URLs by name.
    write : callable
        Writes them, given whether outputs that are there may be replaced.
    check : callable
        Refuses an output that could not be written, as :func:`daskgmm.storage.check_output`.
    about : str
        What decides what is in the outputs, beside the job's identity.
    """

    name: str
    outputs: Mapping[str, str]
    write: Callable[[bool], None]
    check: Callable[..., None] = check_output
    about: str = ""

    @property
    def addresses(self) -> Set[str]:
        """Addresses of the outputs."""
        return {Location.parse(place).address for place in self.outputs.values()}

    @property
    def marks(self) -> Set[str]:
        """What is noted when the step is done."""
        return self.addresses | ({f"{self.name}: {self.about}"} if self.about else set())

    @property
    def is_there(self) -> bool:
        """Whether all outputs exist."""
        return all(Location.parse(place).exists() for place in self.outputs.values())


def _beside(job: Job, rows: StoredSource | Grid, option: Option) -> Any:
    """What a job names that goes with its rows: beside these, or else beside its file."""
    name = job.get(option.name)
    if name is None:
        return None
    if isinstance(rows, Grid):
        return rows.beside(name)
    place = weights_beside(job.get("data"), name)
    if not isinstance(place, str):
        return place
    place = job.beside_file(option.name) if place == name else place
    return open_rows(place) if option is MEASUREMENT_NOISE else open_column(place)


class Batch:
    """A job that is ready to run: it has been checked, and nothing has been written.

    Parameters
    ----------
    job : Job
    fresh : bool
        Whether to forget an earlier run of the job.

    Raises
    ------
    CheckpointError
        If an earlier run had other data or settings, which the message names, or if the
        folder of checkpoints holds something else.
    OutputExistsError
        If an output is there that no run of this job has begun.
    JobError
        As :func:`check_places`.
    """

    def __init__(self, job: Job, *, fresh: bool = False) -> None:
        check_places(job)
        self._job = job
        self._source: StoredSource | Grid = open_rows(job.get("data"), **job.data_settings)
        self._weights = _beside(job, self._source, WEIGHTS)
        self._labels = _beside(job, self._source, LABELS)
        self._noise = _beside(job, self._source, MEASUREMENT_NOISE)
        self._check_settings()
        self._folder = Location.parse(job.checkpoint)
        self._fresh = fresh
        self._new_round: str | None = None
        self._file = StateFile(
            *(self._folder, "job.json", "daskgmm-job", _Progress, self._identity()),
            may_take_over=self._may_take_over,
        )
        self._progress = self._earlier()
        self._steps = self._all_steps()
        for step in self._left():
            self._check(step)

    def _check_settings(self) -> None:
        several = self._job.candidates
        if several is None:
            GaussianMixture(**self._job.settings)._check_parameters()
        else:
            candidate_models(**several)

        if keep := self._keep():
            outputs = self._job.outputs
            places = [outputs[name] for name in (_RESULTS, *_ROWS) if name in outputs]
            check_keep(keep, self._source, places)

    def _may_take_over(self, progress: _Progress, changes: list[str]) -> bool:
        """Whether the job goes on though data or settings are others."""
        if self._fresh or self._kept_nothing(progress):
            return True
        asked = self._job.get("on_new_data")
        model = Location.parse(self._job.outputs["model"])
        is_fitted = model.address in progress.done and model.exists()
        # Nothing but the data has changed.
        is_new_round = is_fitted and all(change.startswith("data.") for change in changes)
        if is_new_round and asked is None:
            raise CheckpointError(
                f"{said_of_changes(self._folder.name, changes)}; or say what new data mean: "
                "on_new_data: refit, update or predict (--on-new-data)"
            )
        self._new_round = asked if is_new_round else None
        return is_new_round

    def _kept_nothing(self, progress: _Progress) -> bool:
        """Whether an earlier run kept nothing to resume from: no step done, no checkpoint.

        A job that stopped at damaged data can then run again once the data are repaired.
        """
        return not progress.done and not self._folder.child(CHECKPOINT_FILE).exists()

    def _earlier(self) -> _Progress:
        """What earlier runs did. Outputs that forgotten runs began may still be replaced."""
        job_file = Location.parse(self._job.name).address
        found = self._file.value
        if found is None:
            self._check_unused()
            return _Progress(job_file)
        if self._new_round is not None:
            if self._new_round == ADDS_ROWS:
                self._check_rows_are_new(found.seen)
            model = Location.parse(self._job.outputs["model"]).address
            done = [model] if self._new_round == KEEPS_MODEL else []
            return replace(found, job_file=job_file, done=done, on_new_data=self._new_round)
        if not self._fresh:
            return replace(found, job_file=job_file)
        if found.job_file != job_file:
            raise CheckpointError(
                f"{self._folder.name} is of the job {found.job_file}; name another folder "
                "(checkpoint), or remove this one"
            )
        return replace(found, done=[], on_new_data="", seen=[])

    def _check_rows_are_new(self, seen: Sequence[RowsSeen]) -> None:
        rows = self._rows
        for one in seen:
            if one.are_at_an_end_of(rows):
                raise CheckpointError(
                    f"{self._source.name} holds {one.n_rows:,} rows that the model has seen, which an "
                    f"update would count again; name new rows alone (data), or fit all "
                    f"{rows.shape[0]:,} anew from the model (on_new_data: refit)"
                )

    def _check_unused(self) -> None:
        # Names that begin with a dot belong to locks, which only a running process needs.
        if any(not name.startswith(".") for name in self._folder.children()):
            raise CheckpointError(
                f"{self._folder.name} holds something else than checkpoints of a job; name another "
                "folder (checkpoint), or remove this one"
            )

    def _check(self, step: _Step) -> None:
        """Refuse to replace outputs that no run of the job began to write."""
        for place in step.outputs.values():
            if Location.parse(place).address not in self._progress.begun:
                step.check(place, overwrite=self._job.get("overwrite", False))

    def _identity(self) -> dict[str, Any]:
        """Data and settings, which must be the same for a job to go on.

        The version of daskgmm is not part of it: checkpoints of the fit have it, and steps that
        are done stay done. Nor are the outputs: each is known by its address, so that a wrong
        one can be corrected in the job file.
        """
        data = {"fingerprint": self._source.fingerprint(), "shape": self._source.shape}
        if not isinstance(self._source, Grid):  # what is beside a grid is among its arrays
            beside = {"weights": self._weights, "labels": self._labels}
            beside["measurement_noise"] = self._noise
            data |= {name: one.fingerprint() for name, one in beside.items() if one is not None}
        return {"data": data, "settings": self._job.deciding_settings}

    def _all_steps(self) -> list[_Step]:
        outputs = self._job.outputs
        rows = {name: outputs[name] for name in (_RESULTS, *_ROWS) if name in outputs}
        steps = [_Step("model", {"model": outputs["model"]}, self._fit)]
        if rows:
            about = ",".join(self._results()) if _RESULTS in rows else ""
            about += f" with {','.join(self._keep())}" if self._keep() else ""
            check = functools.partial(check_rows_output, source=self._source)
            steps.append(_Step("rows", rows, self._predict, check, about))
        if "report" in outputs:
            report = {"report": outputs["report"]}
            steps.append(_Step("report", report, self._report, check_text_output))
        return steps

    def _left(self) -> list[_Step]:
        done = set(self._progress.done)
        return [step for step in self._steps if not (done >= step.marks and step.is_there)]

    @functools.cached_property
    def _rows(self) -> Source:
        """The rows of the data, those of a grid being its cells."""
        source = self._source
        return source.rows()[0] if isinstance(source, Grid) else source

    @property
    def is_done(self) -> bool:
        """Whether no step is left."""
        return not self._left()

    def alone(self) -> AbstractContextManager[None]:
        """A context that keeps other processes from the job; :meth:`run` needs it.

        Raises
        ------
        JobRunningError
            If another process runs it.
        """
        return held(self._folder)

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Mark errors that may pass as resumable, such as that a cluster does not start.

        They are marked if the job had begun before, so that running it again goes on.
        """
        try:
            yield
        except (ClusterError, StorageError) as error:
            error.is_resumable |= bool(self._progress.begun) and may_pass(error)
            raise

    def run(self) -> dict[str, Any]:
        """Do the steps that are left.

        Returns
        -------
        dict
            The model's record, ``outputs``, and ``done``: the steps of this run.

        Raises
        ------
        InterruptedFitError
            On a KeyboardInterrupt; the job goes on when it is run again.
        ClusterError, StorageError
            See :meth:`resumable`.
        """
        left = self._left()
        try:
            if self._fresh or self._new_round is not None:
                # Checkpoints of the fit go first: if the process is killed between the two, the
                # job notes the same steps as before, and the fit begins anew.
                self._folder.child(CHECKPOINT_FILE).remove()
                self._note()
            for step in left:
                self._check(step)
                is_ours = not step.addresses.isdisjoint(self._progress.begun)
                self._note(begun=step.addresses)
                step.write(is_ours or self._job.get("overwrite", False))
                self._note(done=step.marks)
        except KeyboardInterrupt:
            raise InterruptedFitError(
                f"interrupted; {Location.parse(self._job.checkpoint).name} holds what was done: "
                "run the same command again to go on"
            ) from None
        return self.result() | {"done": [step.name for step in left]}

    def result(self) -> dict[str, Any]:
        """Facts of the model, and the outputs, once the model is there."""
        return {**info(self._job.outputs["model"]), "outputs": self._job.outputs}

    def _note(self, *, begun: Set[str] = frozenset(), done: Set[str] = frozenset()) -> None:
        now = self._progress
        self._progress = replace(
            now, begun=sorted({*now.begun, *begun}), done=sorted({*now.done, *done})
        )
        self._file.put(self._progress)

    def _fit(self, overwrite: bool) -> None:
        seen = [RowsSeen.of(self._rows)]
        makes_model = ROUNDS.get(self._progress.on_new_data)
        made: dict[str, Any] = {}
        if makes_model is None:
            made = self._fit_first(overwrite)
        else:
            mark = mark_of(self._identity()["data"])
            new = Round(self._job, self._source, self._weights, mark)
            if not new.is_done:
                made = makes_model(new)
            if self._progress.on_new_data == ADDS_ROWS:
                seen = [*self._progress.seen, *seen]
        for said in said_of_model(made):
            teller()(Message(said))
        # Written together with the mark that the step is done.
        self._progress = replace(self._progress, seen=seen)

    def _fit_first(self, overwrite: bool) -> dict[str, Any]:
        several, place = self._job.candidates, self._job.outputs["model"]
        how: dict[str, Any] = {"sample_weight": self._weights, "overwrite": overwrite}
        how |= {"labels": self._labels, "measurement_noise": self._noise}
        if several is None:
            model = GaussianMixture(**self._job.settings, resume=True)
            return job.fit(self._source, place, model, **how)
        teller()(Message("a selection keeps no checkpoints: interrupted, it begins anew"))
        return job.select_model(self._source, place, **several, **how)

    def _results(self) -> list[str]:
        """What the output of several results holds."""
        found = self._job.get(RESULTS.name, RESULTS.default)
        return [found] if isinstance(found, str) else list(found)

    def _keep(self) -> list[str]:
        """Columns that are copied beside results."""
        return names_of(self._job.get(KEEP.name) or [])

    def _predict(self, overwrite: bool) -> None:
        outputs = self._job.outputs
        asked = [(result, outputs[name]) for name, result in _ROWS.items() if name in outputs]
        if _RESULTS in outputs:
            asked.insert(0, (",".join(self._results()), outputs[_RESULTS]))
        job.predict(
            self._source,
            outputs["model"],
            asked,
            keep=self._keep(),
            measurement_noise=self._noise,
            memory_limit=self._job.get("memory_limit"),
            overwrite=overwrite,
        )

    def _report(self, overwrite: bool) -> None:
        text = json.dumps(plain_json(self.result()), indent=2) + "\n"
        write_text(self._job.outputs["report"], text, overwrite=overwrite)
