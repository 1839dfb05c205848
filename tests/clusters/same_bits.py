"""Fit and predict on a cluster, and hold both against this machine's threads, bit for bit.

    python tests/clusters/same_bits.py CLUSTER...

``CLUSTER`` is what ``--cluster`` takes. Prints a line for each; the exit status is not 0
where a command fails or a bit differs.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

N_ROWS, N_FEATURES = 200_000, 4
MODEL = ("weights", "means", "covariances")
FIT = ("--components", "4", "--max-iter", "6", "--tol", "0", "--no-progressive", "--json")


def daskgmm(folder, *arguments):
    """What the command printed, as JSON; it must be all that is on standard output."""
    command = [str(Path(sys.executable).with_name("daskgmm")), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}exit status {done.returncode}")
    return json.loads(done.stdout)


def fit_and_predict(folder, name, *where):
    """Arrays of the model and of the labels, and the number of passes."""
    fitted = daskgmm(folder, "fit", "data.zarr", *FIT, "--output", f"{name}.zarr", *where)
    predict = ("predict", "data.zarr", "--model", f"{name}.zarr", "--json", *where)
    daskgmm(folder, *predict, "--output", f"{name}-labels.zarr")
    model = zarr.open_group(folder / f"{name}.zarr", mode="r")
    arrays = {part: model[part][...] for part in MODEL}
    arrays["labels"] = zarr.open_array(folder / f"{name}-labels.zarr/labels", mode="r")[...]
    return arrays, fitted["n_passes"]


def write_rows(path):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, N_FEATURES))
    x = centres[rng.integers(4, size=N_ROWS)] + rng.normal(size=(N_ROWS, N_FEATURES))
    array = zarr.create_array(path, shape=x.shape, dtype="float32", chunks=(5_000, N_FEATURES))
    array[...] = x


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "data.zarr")
        here, _ = fit_and_predict(folder, "here")
        for i, cluster in enumerate(sys.argv[1:]):
            began = time.perf_counter()
            where = cluster if "://" in cluster else str(Path(cluster).resolve())
            there, n_passes = fit_and_predict(folder, f"there{i}", "--cluster", where)
            for part, array in here.items():
                if array.dtype != there[part].dtype or array.tobytes() != there[part].tobytes():
                    sys.exit(f"{cluster}: {part} differ from those of this machine's threads")
            print(
                f"{cluster}: {N_ROWS} rows, {n_passes} passes and a predict: every bit as with "
                f"threads, {time.perf_counter() - began:.1f} s"
            )


if __name__ == "__main__":
    main()
