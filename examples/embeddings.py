"""Topics of embeddings: vectors of 256 numbers, projected inside the fit, and their topics.

    python examples/embeddings.py                          # 20,000 vectors, in seconds
    python examples/embeddings.py --vectors 10000000       # full size: 10 GB in float32
    python examples/embeddings.py vectors.zarr out.png     # yours: a Zarr array (vectors, dimensions)

Full covariances of 256 features have 33,000 numbers for each component, which is more than most
tables can tell. `n_projected` keeps the principal axes of the rows, found in the scan that a fit
makes anyway; predictions take the vectors as they are.
"""

import argparse

import dask.array as da
import matplotlib as mpl
import numpy as np

from daskgmm import GaussianMixture, plot

N_TOPICS, D, INNER = 12, 256, 10


def make_vectors(path: str, n: int) -> np.ndarray:
    """Write vectors of unit length that lie about topics in a few directions; their topics."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(D, INNER)))[0].T
    topics = rng.normal(size=(N_TOPICS, INNER))
    which = rng.integers(N_TOPICS, size=n)

    def block(k: np.ndarray, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        x = (topics[k[:, 0]] + 0.35 * z) @ axes + 0.05 * w
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f4")

    rows = min(n, 100_000)
    draw = da.random.default_rng(1).normal
    parts = draw(size=(n, INNER), chunks=(rows, INNER)), draw(size=(n, D), chunks=(rows, D))
    k = da.from_array(which[:, None], chunks=(rows, 1))
    x = da.map_blocks(block, k, *parts, dtype="f4", chunks=parts[1].chunks)
    x.to_zarr(path, overwrite=True)
    return which


def main() -> None:
    """Make vectors unless some are given, find their topics, and draw."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("places", nargs="*", help="vectors.zarr picture.png")
    options.add_argument("--vectors", type=int, default=20_000, help="of data of its own")
    given = options.parse_args()
    mpl.use("agg")
    from matplotlib import pyplot as plt

    data, picture = given.places or ("vectors.zarr", "embeddings.png")
    truth = None if given.places else make_vectors(data, given.vectors)
    model = GaussianMixture(N_TOPICS, n_projected=INNER, random_state=0).fit(data)
    labels = np.asarray(model.predict(data))
    print(f"{D} features, {INNER} after projection, {model.n_passes_} passes")
    print(f"vectors by topic: {np.bincount(labels, minlength=N_TOPICS).tolist()}")
    if truth is not None:
        pairs = np.zeros((N_TOPICS, N_TOPICS), int)
        np.add.at(pairs, (labels, truth), 1)
        print(f"{pairs.max(axis=1).sum() / len(truth):.1%} of the vectors are with their topic")
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    plot.ellipses(model, data, ax=left)
    plot.responsibilities(model, data, ax=right)
    figure.savefig(picture, dpi=100)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
