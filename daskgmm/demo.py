"""Demo: make a store, fit it within a memory limit, and compare the result with the truth."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from dask.system import CPU_COUNT
from dask.utils import format_bytes
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from daskgmm import job
from daskgmm.errors import ParameterError, StorageError
from daskgmm.estimator import GaussianMixture, load_model
from daskgmm.events import Message, duration, teller
from daskgmm.kernel import Mixture, gaussian_mixture
from daskgmm.rules import bytes_of
from daskgmm.storage import ResultArray, RowAxes, RowOutput, RowWriter

__all__ = ["run_demo"]

_K, _D = 5, 8
_BLOCK_ROWS = 1 << 17  # 4 MiB
_BLOCKS_EACH = 4  # that a process makes at a time
_SEED = 20
_ROWS = "rows"


def run_demo(*, size: str, memory_limit: str, folder: str | None) -> tuple[dict[str, Any], str]:
    """Make a store, fit a mixture to it within the limit, and compare it with the truth.

    Parameters
    ----------
    size : str
        Bytes of rows to make, float32.
    memory_limit : str
        Bytes that the process may use; best well below ``size``.
    folder : str or None
        Folder in which data and model stay; by default a temporary folder in which only the
        model is left.

    Returns
    -------
    result : dict
        The result of :func:`daskgmm.job.fit`, with ``truth`` and ``largest_error``, which is
        that of the means in units of each component's standard deviations.
    text : str
        The same for people.
    """
    n_bytes = bytes_of(size, "size")
    bytes_of(memory_limit)
    assert n_bytes is not None
    n_rows = n_bytes // (4 * _D)
    if n_rows < 1000:
        raise ParameterError(f"size must be at least {4 * _D * 1000} bytes; got {size!r}")
    place = _make_folder(folder)
    try:
        _check_free(place, n_bytes)
        truth = _truth()
        data, model = str(place / "data.zarr"), str(place / "model.zarr")
        tell = teller()
        tell(Message(f"making {n_rows:,} rows x {_D} float32 ({format_bytes(n_bytes)}) in {data}"))
        _write_rows(data, truth, n_rows)
        tell(Message(f"fitting {_K} components within {memory_limit}"))
        fitting = GaussianMixture(_K, random_state=0, memory_limit=memory_limit)
        result = job.fit(data, model, fitting)
    except BaseException:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    if folder is None:
        shutil.rmtree(data)
    return _compared(result, truth, load_model(model))


def _make_folder(folder: str | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="daskgmm-demo-"))
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from error
    return place


def _check_free(place: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(place).free
    if free < 1.2 * n_bytes:
        raise StorageError(
            f"the demo needs {format_bytes(int(1.2 * n_bytes))} in {place}, where "
            f"{format_bytes(free)} are free; choose a smaller --size or another --keep folder"
        )


def _truth() -> Mixture:
    """A mixture whose components overlap a little."""
    rng = np.random.default_rng(_SEED)
    roots = rng.normal(size=(_K, _D, _D)) * 0.5 + np.eye(_D)
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(_D)
    weights = np.arange(_K, 0, -1.0)
    return gaussian_mixture(
        weights / weights.sum(), rng.normal(size=(_K, _D)) * 3, covariances, "full"
    )


def _write_rows(path: str, truth: Mixture, n_rows: int) -> None:
    starts = range(0, n_rows, _BLOCK_ROWS)
    # Processes of their own make the rows, so that the peak memory is that of the fit. Each takes
    # seconds to import, so no more are started than there is work for.
    n_processes = min(CPU_COUNT, -(-len(starts) // _BLOCKS_EACH))
    rows = ResultArray(np.dtype(np.float32), None, ("feature",), (_D,))
    with (
        RowOutput.create(
            path, RowAxes((n_rows,)), {_ROWS: rows}, partition_rows=_BLOCK_ROWS
        ) as output,
        ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool,
    ):
        write = partial(_write_block, output.writer, truth, n_rows)
        for _ in pool.map(write, starts, chunksize=_BLOCKS_EACH):
            pass


def _write_block(writer: RowWriter, truth: Mixture, n_rows: int, start: int) -> None:
    writer.write(start, {_ROWS: _draw(truth, start, min(_BLOCK_ROWS, n_rows - start))})


def _draw(truth: Mixture, start: int, n_rows: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([_SEED, start])
    z = rng.standard_normal((n_rows, _D), dtype=np.float32)
    component = rng.choice(_K, size=n_rows, p=truth.weights)
    x = np.empty_like(z)
    for k, root in enumerate(np.linalg.cholesky(truth.covariances).astype(np.float32)):
        rows = np.flatnonzero(component == k)
        x[rows] = z[rows] @ root.T + truth.means[k].astype(np.float32)
    return x


def _compared(
    result: dict[str, Any], truth: Mixture, found: GaussianMixture
) -> tuple[dict[str, Any], str]:
    sigma = np.sqrt(np.diagonal(truth.covariances, axis1=1, axis2=2))
    errors = np.abs(found.means_[None] - truth.means[:, None]) / sigma[:, None]
    of_truth, of_found = linear_sum_assignment(errors.max(axis=2))
    lines = ["component  weight true   found    largest error of the mean, in sigma"]
    for k, j in zip(of_truth, of_found, strict=True):
        lines.append(
            f"{k:>9}  {truth.weights[k]:>11.5f}  {found.weights_[j]:.5f}  {errors[k, j].max():.5f}"
        )
    read = result["rows_read"] / result["seconds"]
    lines += [
        "",
        f"log-likelihood per row  {result['log_likelihood_per_row']:.6f}",
        f"stopped                 {result['stop_reason']} after {result['n_passes']} passes, "
        f"{duration(result['seconds'])}",
        f"rows per second         {read:,.0f}, each pass counted",
        f"peak memory             {format_bytes(result['peak_memory_bytes'])}",
        f"model                   {result['model']}",
        f"next                    daskgmm info {result['model']}",
    ]
    facts = {
        "truth": {"weights": truth.weights.tolist(), "means": truth.means.tolist()},
        "largest_error": float(errors[of_truth, of_found].max()),
    }
    return {**result, **facts}, "\n".join(lines)
