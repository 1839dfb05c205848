"""Kinds of fits by the command line: a job file, and one command after another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from daskgmm import load_model

from .kinds import REG_COVAR, Folders, counts_of, parameters_of

__all__ = ["CommandFailedError", "CommandLine", "Job", "SelectedByCommand"]

_REG_COVAR = ("--reg-covar", str(REG_COVAR))
_ARRAYS = {"labels": "labels", "probabilities": "probabilities", "scores": "log_density"}
"""Outputs with a row for each row, and the arrays in them."""
_KILL_AFTER = 3
"""Passes after which a job is killed, if it has not ended by then."""


class CommandFailedError(Exception):
    """A command of daskgmm did not end with exit status 0."""


def _commanded(folders: Folders, *arguments: str) -> str:
    """Standard output of the command line, run to its end."""
    command = [sys.executable, "-m", "daskgmm", *arguments]
    done = subprocess.run(command, cwd=folders.own, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailedError(f"{' '.join(arguments[:1])}: {done.stderr.strip()[-500:]}")
    return done.stdout


@dataclass(frozen=True)
class Job:
    """A job file with all outputs, run by the command line; perhaps killed on the way."""

    name: str
    data: str
    model: dict[str, Any]
    is_killed: bool = False

    def run(self, folders: Folders) -> dict[str, Any]:
        stem = self.name.replace(" ", "-")
        names = ("model", "labels", "probabilities", "scores", "report", "metrics")
        outputs = {name: f"{stem}-{name}" for name in names}
        asked = {
            "data": folders.rows(self.data, "zarr"),
            "model": {"reg_covar": REG_COVAR, **self.model},
            "checkpoint": f"{stem}-checkpoint",
            "outputs": outputs,
        }
        file = folders.own / f"{stem}.yaml"
        file.write_text(json.dumps(asked))  # JSON is YAML
        was_killed = self.is_killed and self._kill(folders, file, folders.own / outputs["metrics"])
        _commanded(folders, "run", str(file))
        report = json.loads((folders.own / outputs["report"]).read_text())
        labels, probabilities, scores = (
            zarr.open_array(folders.own / outputs[name] / array, mode="r")[:]
            for name, array in _ARRAYS.items()
        )
        return {
            "passes": report["n_passes"],
            "log_likelihoods": [
                report["log_likelihood_per_row"],
                float(scores.mean()),
                *probabilities.mean(axis=0).tolist(),
            ],
            "facts": {
                "labels": counts_of(labels),
                "stop_reason": report["stop_reason"],
                "was_killed": was_killed,
            },
            **parameters_of(load_model(str(folders.own / outputs["model"]))),
        }

    def _kill(self, folders: Folders, file: Path, metrics: Path) -> bool:
        """Run the job until it has done some passes, leave it no time to tidy up; say if it died."""
        command = [sys.executable, "-m", "daskgmm", "run", str(file)]
        process = subprocess.Popen(command, cwd=folders.own, stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                if metrics.exists() and metrics.read_bytes().count(b"\n") >= _KILL_AFTER:
                    break
                time.sleep(0.002)
        finally:
            process.kill()  # does nothing to one that has ended
        return process.wait() == -signal.SIGKILL


@dataclass(frozen=True)
class CommandLine:
    """``fit``, ``score`` and ``predict`` by the command line."""

    name: str
    data: str
    arguments: tuple[str, ...]

    def run(self, folders: Folders) -> dict[str, Any]:
        stem = self.name.replace(" ", "-")
        data, model, labels = folders.rows(self.data, "zarr"), f"{stem}.model", f"{stem}.labels"
        density = f"{stem}.density"
        said = _commanded(
            folders, "fit", data, "--output", model, "--json", *_REG_COVAR, *self.arguments
        )
        fitted = json.loads(said)
        score = json.loads(_commanded(folders, "score", data, "--model", model, "--json"))
        outputs = ("--output", labels, "--log-density", density)
        _commanded(folders, "predict", data, "--model", model, *outputs)
        found = zarr.open_array(folders.own / density / "log_density", mode="r")[:]
        return {
            "passes": fitted["n_passes"],
            "log_likelihoods": [
                fitted["log_likelihood_per_row"],
                *(score[name] for name in ("log_likelihood_per_row", "aic", "bic", "icl")),
                float(found.mean()),
            ],
            "facts": {
                "labels": counts_of(zarr.open_array(folders.own / labels / "labels", mode="r")[:])
            },
            **parameters_of(load_model(str(folders.own / model))),
        }


@dataclass(frozen=True)
class SelectedByCommand:
    """``select`` by the command line."""

    name: str
    data: str
    arguments: tuple[str, ...]

    def run(self, folders: Folders) -> dict[str, Any]:
        model = f"{self.name.replace(' ', '-')}.model"
        data = folders.rows(self.data, "zarr")
        found = json.loads(
            _commanded(
                folders, "select", data, "--output", model, "--json", *_REG_COVAR, *self.arguments
            )
        )
        best = found["best"]
        entries = [best, *found["candidates"]]
        return {
            "passes": found["n_passes"],
            "log_likelihoods": [entry["log_likelihood_per_row"] for entry in entries],
            "facts": {"best": [best["n_components"], best["covariance_type"]]},
            **parameters_of(load_model(str(folders.own / model))),
        }
