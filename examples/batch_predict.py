"""Label a Zarr array with a saved model, as a batch job, and report the strangest rows.

    python examples/batch_predict.py                                      # data of its own
    python examples/batch_predict.py data.zarr model.zarr output-folder   # yours

Writes labels.zarr and log_density.zarr into the output folder: whole, or not at all; and a picture
of all log densities, batch_predict.png, which is left here if the data are its own.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm import GaussianMixture, job, load_model, plot

N_ANOMALIES = 5


def make_data_and_model(folder: Path) -> None:
    """Write 100,000 rows, five of them strange, and a model fitted to them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 3)) + 8 * rng.integers(2, size=(100_000, 1))
    x[[7, 20_000, 33_333, 77_777, 99_999]] += [[0, 30, -30]]
    zarr.create_array(
        folder / "data.zarr",
        data=x.astype("float32"),
        chunks=(20_000, 3),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],  # a flipped bit is an error, not data
    )
    GaussianMixture(2, random_state=0).fit(folder / "data.zarr").save(folder / "model.zarr")


def lowest(path: Path, n: int) -> list[tuple[int, float]]:
    """Rows of the n lowest values of a one-dimensional array, and the values, lowest first.

    Read chunk by chunk, so that the log density of any number of rows is enough.
    """
    array = zarr.open_array(path, mode="r")
    found: list[tuple[float, int]] = []
    for start in range(0, array.shape[0], array.chunks[0]):
        values = array[start : start + array.chunks[0]]
        here = np.argsort(values)[:n]
        found = sorted([*found, *((float(values[i]), start + int(i)) for i in here)])[:n]
    return [(row, value) for value, row in found]


def main(data: str, model: str, folder: str, picture: str) -> None:
    """Predict in one pass, then look for rows that the mixture finds improbable, and draw how they lie."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    outputs = {name: f"{folder}/{name}.zarr" for name in ("labels", "log_density")}
    # The same as `daskgmm predict`. On a cluster, open it around this call:
    #     with daskgmm.execution.clusters.open_cluster("cluster_configs/slurm.yaml"):
    result = job.predict(data, model, outputs, memory_limit="1GiB", overwrite=True)
    print(f"{result['n_rows']:,} rows in {result['seconds']:.1f} s")

    labels = zarr.open_array(f"{outputs['labels']}/labels", mode="r")[:]  # 4 bytes a row
    for component, count in enumerate(np.bincount(labels, minlength=result["n_components"])):
        print(f"component {component}: {count:,} rows")

    rows = zarr.open_array(data, mode="r")
    print(f"the {N_ANOMALIES} rows of lowest log density:")
    for row, log_density in lowest(Path(outputs["log_density"], "log_density"), N_ANOMALIES):
        values = ", ".join(f"{value:.2f}" for value in rows[row])
        print(f"  row {row}: log density {log_density:.1f}, values {values}")

    mpl.use("agg")
    plot.log_density(load_model(model), data).figure_.savefig(picture, dpi=100)  # one more pass
    print(f"picture: {picture}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(*sys.argv[1:], f"{sys.argv[3]}/batch_predict.png")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            make_data_and_model(Path(temporary))
            places = (f"{temporary}/data.zarr", f"{temporary}/model.zarr", temporary)
            main(*places, "batch_predict.png")
