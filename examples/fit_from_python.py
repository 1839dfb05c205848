"""Fit Gaussian mixtures to a Zarr array from Python, choosing how many components by BIC.

    python examples/fit_from_python.py                                     # small data of its own
    python examples/fit_from_python.py data.zarr model.zarr picture.png    # yours; where to save

The data are read chunk by chunk in every pass and may be far larger than memory. The picture of
its own data is fit_from_python.png.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm import GaussianMixture, load_model, plot


def make_data(path: Path) -> None:
    """Write 30,000 rows of three components, in chunks that carry checksums."""
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    x = centres[rng.integers(3, size=30_000)] + rng.normal(size=(30_000, 2))
    array = zarr.create_array(
        path,
        shape=x.shape,
        dtype="float32",
        chunks=(10_000, 2),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],  # a flipped bit is an error, not data
    )
    array[:] = x.astype("float32")


def choose(data: str, candidates: range) -> GaussianMixture:
    """Return the fitted mixture of lowest BIC."""
    best, lowest = None, np.inf
    for k in candidates:
        # random_state fixes the result: same data, same seed, same bits on any machine.
        # memory_limit is for the whole process; without it half of the free memory is used.
        gm = GaussianMixture(n_components=k, random_state=0, memory_limit="1GiB").fit(data)
        bic = gm.bic(data)  # one more pass
        print(f"K = {k}: BIC {bic:,.0f} after {gm.n_passes_} passes ({gm.stop_reason_})")
        if bic < lowest:
            best, lowest = gm, bic
    assert best is not None
    return best


def main(data: str, output: str, picture: str) -> None:
    """Choose, save, load, show that the loaded model is the saved one, and draw it over the rows."""
    best = choose(data, range(1, 5))
    best.save(output, overwrite=True)

    model = load_model(output)
    print(f"chosen: K = {model.n_components}, saved to {output}")
    for weight, mean in zip(model.weights_, model.means_, strict=True):
        print(f"  weight {weight:.3f}  mean {', '.join(f'{value:.2f}' for value in mean)}")

    # Results of stored rows are lazy Dask arrays: this reads only what the first rows need.
    print("labels of the first rows:", model.predict(data)[:5].compute())
    assert np.array_equal(model.means_, best.means_)

    mpl.use("agg")
    plot.pairs(model, data).figure_.savefig(picture, dpi=100)  # one more pass
    print(f"picture: {picture}")


# Worker processes of a local cluster import this file, so the guard is needed there.
if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(*sys.argv[1:])
    elif len(sys.argv) > 1:
        raise SystemExit(__doc__)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_data(Path(folder) / "data.zarr")
            main(f"{folder}/data.zarr", f"{folder}/model.zarr", "fit_from_python.png")
