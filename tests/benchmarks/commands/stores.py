"""What rows on disk cost: the commands that read stores."""

from __future__ import annotations

from pathlib import Path

import click

from daskgmm.errors import MemoryLimitError

from ..billion import FitFailedError, billion_table
from ..checkpointing import checkpoint_table
from ..containers import containers_table
from ..grid import DTYPES
from ..parquet import parquet_table
from ..peaks import LAZY, peaks_table
from ..reading import read_table
from ..stores import MadeStore, rows_of
from .options import (
    ListOf,
    Size,
    codec_option,
    folder_option,
    json_option,
    mixture_options,
    report,
    rounds_option,
    to_bytes,
)

__all__ = ["COMMANDS"]


@click.command("parquet")
@click.option("--size", type=Size(), default="1GiB", show_default=True, help="Decoded.")
@click.option("--memory-limit", type=Size(), default="512MiB", show_default=True)
@click.option("--group-rows", type=click.IntRange(1), default=250_000, show_default=True)
@mixture_options
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@codec_option
@folder_option
@rounds_option
@json_option
def _parquet(
    size: int,
    memory_limit: int,
    group_rows: int,
    features: int,
    components: int,
    dtype: str,
    codec: str,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Reads and passes over Parquet beside Zarr and pyarrow's own scan.

    \b
    Examples:
      python -m tests.benchmarks parquet
      python -m tests.benchmarks parquet --size 4GiB --group-rows 10000000
    """
    chunk_rows = 16_384
    n_rows = rows_of(size, features, dtype, chunk_rows)
    store = MadeStore(folder, n_rows, features, components, dtype, codec, chunk_rows)
    report([parquet_table(store, group_rows, memory_limit, rounds)], json_file)


@click.command("containers")
@click.option("--size", type=Size(), default="1GiB", show_default=True, help="Decoded.")
@mixture_options
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@codec_option
@folder_option
@rounds_option
@json_option
def _containers(
    size: int,
    features: int,
    components: int,
    dtype: str,
    codec: str,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Reads and passes over the same rows in each container, beside the bare Zarr array.

    \b
    Example:
      python -m tests.benchmarks containers --size 512MiB
    """
    chunk_rows = 16_384
    n_rows = rows_of(size, features, dtype, chunk_rows)
    store = MadeStore(folder, n_rows, features, components, dtype, codec, chunk_rows)
    report([containers_table(store, rounds)], json_file)


@click.command("peaks")
@click.option(
    "--sizes", type=ListOf(to_bytes), default=[2**29, 2**32], help="Default: 512MiB,4GiB."
)
@click.option("--containers", type=ListOf(str, LAZY), default=list(LAZY))
@click.option("--memory-limit", type=Size(), default="1GiB", show_default=True)
@mixture_options
@folder_option
@json_option
def _peaks(
    sizes: list[int],
    containers: list[str],
    memory_limit: int,
    features: int,
    components: int,
    folder: Path,
    json_file: Path | None,
) -> None:
    """Peak memory of a fit of rows in each container, by the size of the rows.

    \b
    Example:
      python -m tests.benchmarks peaks --sizes 512MiB,4GiB
    """
    store = MadeStore(folder, 0, features, components, "float64", "zstd", 16_384)
    report([peaks_table(store, containers, sizes, memory_limit)], json_file)


@click.command("read")
@click.option("--size", type=Size(), default="4GiB", show_default=True, help="Decoded.")
@click.option("--memory-limit", type=Size(), default="1GiB", show_default=True)
@codec_option
@click.option("--chunk-rows", type=click.IntRange(1), default=16_384, show_default=True)
@mixture_options
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@click.option("--stage", metavar="DIR|auto", help="Also measure passes that stage rows there.")
@folder_option
@rounds_option
@json_option
def _read(
    size: int,
    memory_limit: int,
    codec: str,
    chunk_rows: int,
    features: int,
    components: int,
    dtype: str,
    stage: str | None,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """A pass over a Zarr store against decoding alone and arithmetic alone.

    \b
    Examples:
      python -m tests.benchmarks read
      python -m tests.benchmarks read --size 8GiB --codec lz4 --components 32
      python -m tests.benchmarks read --size 2GiB --memory-limit 600MiB --stage /tmp
    """
    n_rows = rows_of(size, features, dtype, chunk_rows)
    store = MadeStore(folder, n_rows, features, components, dtype, codec, chunk_rows)
    try:
        table = read_table(store, memory_limit, rounds, stage)
    except MemoryLimitError as error:
        raise click.ClickException(str(error)) from None
    report([table], json_file)


@click.command("checkpoint")
@click.option("--size", type=Size(), default="4GiB", show_default=True, help="Decoded.")
@click.option("--memory-limit", type=Size(), default="1GiB", show_default=True)
@mixture_options
@folder_option
@rounds_option
@json_option
def _checkpoint(
    size: int,
    memory_limit: int,
    features: int,
    components: int,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """What a checkpoint after every pass over a Zarr store costs.

    \b
    Examples:
      python -m tests.benchmarks checkpoint
      python -m tests.benchmarks checkpoint --size 1GiB --rounds 3
    """
    n_rows = rows_of(size, features, "float64", 16_384)
    store = MadeStore(folder, n_rows, features, components, "float64", "zstd", 16_384)
    report([checkpoint_table(store, memory_limit, rounds)], json_file)


@click.command("billion")
@click.option("--rows", type=click.IntRange(1000), default=10**9, show_default=True)
@click.option("--memory-limit", type=Size(), default="2GiB", show_default=True)
@click.option("--cores", type=click.IntRange(1), default=2, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@click.option("--max-iter", type=click.IntRange(1), default=100, show_default=True)
@click.option("--chunk-rows", type=click.IntRange(1), default=262_144, show_default=True)
@codec_option
@folder_option
@json_option
def _billion(
    rows: int,
    memory_limit: int,
    cores: int,
    components: int,
    max_iter: int,
    chunk_rows: int,
    codec: str,
    folder: Path,
    json_file: Path | None,
) -> None:
    """Fit a billion rows of 4 float32 features, full covariances, within 2 GiB.

    The store takes some 15 GB in --folder. An interrupted run goes on where it was.

    \b
    Examples:
      python -m tests.benchmarks billion --folder /data/rows
      python -m tests.benchmarks billion --rows 20000000
    """
    store = MadeStore(folder, rows, 4, components, "float32", codec, chunk_rows)
    try:
        table = billion_table(
            store,
            memory_limit=memory_limit,
            cores=cores,
            options=["--max-iter", str(max_iter)],
        )
    except FitFailedError as error:
        raise click.ClickException(str(error)) from None
    report([table], json_file)


COMMANDS = (
    _parquet,
    _containers,
    _peaks,
    _read,
    _checkpoint,
    _billion,
)
