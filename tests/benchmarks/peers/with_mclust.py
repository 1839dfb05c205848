"""mclust, in a process of R for each fit, which reads the rows from a file before the clock runs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from problem import Problem

INCLUDES_SETUP = True

_PROGRAM = """
suppressPackageStartupMessages(library(mclust))
at <- commandArgs(TRUE)
n <- as.integer(at[2]); d <- as.integer(at[3]); k <- as.integer(at[4]); times <- as.integer(at[5])
read <- function(name, size) readBin(file.path(at[1], name), "double", size)
x <- matrix(read("x", n * d), n, d)
sigma <- array(read("covariances", d * d * k), c(d, d, k))
cholsigma <- array(apply(sigma, 3, chol), c(d, d, k))
variance <- list(modelName = "VVV", d = d, G = k, sigma = sigma, cholsigma = cholsigma)
start <- list(pro = read("weights", k), mean = matrix(read("means", d * k), d, k),
              variance = variance)
control <- emControl(tol = c(0, 0), itmax = c(times, times))
began <- proc.time()[["elapsed"]]
found <- em(data = x, modelName = "VVV", parameters = start, control = control, warn = FALSE)
seconds <- proc.time()[["elapsed"]] - began
made <- found$parameters
writeBin(c(seconds, attr(found, "info")[["iterations"]], as.double(made$pro),
           as.double(made$mean), as.double(made$variance$sigma)), file.path(at[1], "found"))
"""


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """With a tolerance of 0 no gain is small enough to stop at."""
    if shutil.which("Rscript") is None:
        raise RuntimeError("there is no Rscript; install R, and mclust in it")
    (n, d), k = problem.x.shape, len(problem.weights)
    with tempfile.TemporaryDirectory(prefix="daskgmm-mclust-") as name:
        folder = Path(name)
        (folder / "program.R").write_text(_PROGRAM)
        problem.x.T.tofile(folder / "x")  # by columns, as R has them
        for part in ("weights", "means", "covariances"):
            getattr(problem, part).tofile(folder / part)
        numbers = map(str, (n, d, k, n_iterations))
        command = ["Rscript", "--vanilla", str(folder / "program.R"), name, *numbers]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(" ".join(done.stderr.split())[-300:])
        seconds, made, *rest = np.fromfile(folder / "found")
    if abs(made) != n_iterations:  # it is below 0 where the last one was still a gain
        raise RuntimeError(f"mclust made {made:.0f} iterations of {n_iterations}")
    weights, means, covariances = np.split(np.array(rest), np.cumsum([k, k * d]))
    return float(seconds), (weights, means.reshape(k, d), covariances.reshape(k, d, d))
