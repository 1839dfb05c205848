"""Spark MLlib on the cores of this machine, with the rows in its cache. It has starts of its own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from problem import Problem
from pyspark.ml.clustering import GaussianMixture
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession

INCLUDES_SETUP = True

_SESSION = (
    SparkSession.builder.master("local[*]")
    .config("spark.driver.memory", "6g")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.execution.arrow.pyspark.enabled", "true")
    .getOrCreate()
)
_CACHED: dict[int, Any] = {}


def _rows(problem: Problem) -> Any:
    """The rows as vectors in Spark's cache."""
    if id(problem) not in _CACHED:
        names = [f"x{j}" for j in range(problem.x.shape[1])]
        frame = _SESSION.createDataFrame(pd.DataFrame(problem.x, columns=names))
        vectors = VectorAssembler(inputCols=names, outputCol="features").transform(frame)
        _CACHED.clear()
        _CACHED[id(problem)] = vectors.select("features").cache()
        _CACHED[id(problem)].count()
    return _CACHED[id(problem)]


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """With tol=0 no gain is small enough to stop at."""
    rows = _rows(problem)
    model = GaussianMixture(k=len(problem.weights), maxIter=n_iterations, tol=0.0, seed=0)
    began = time.perf_counter()
    fitted = model.fit(rows)
    seconds = time.perf_counter() - began
    laws = fitted.gaussiansDF.collect()
    means = np.array([law["mean"].toArray() for law in laws])
    covariances = np.array([law["cov"].toArray() for law in laws])
    return seconds, (np.array(fitted.weights), means, covariances)
