"""How many components: choose K by BIC, see what more of them gain, and keep the report.

    python examples/choose_k.py                             # 50,000 rows, in seconds
    python examples/choose_k.py --rows 50000000             # full size: 1.6 GB
    python examples/choose_k.py data.zarr model.zarr report.html choose_k.png    # yours

BIC asks what all rows say; the gain on rows held out, with its error, asks whether another
component is worth having. The report has both, and what speaks against the choice.
"""

import argparse

import dask.array as da
import matplotlib as mpl
import numpy as np

from daskgmm import select
from daskgmm.report.page import write_report

MEANS = np.array([[0, 0, 0, 0], [4, 0, 1, 0], [0, 4, 0, 1], [4, 4, -1, -1], [2, 2, 4, 2]])
SCALES = np.array([1.0, 0.6, 0.8, 0.7, 1.2])


def make_rows(path: str, n_rows: int) -> None:
    """Write rows of five components, chunk by chunk."""
    rng = da.random.default_rng(0)
    chunks = min(n_rows, 1_000_000)
    which = rng.integers(0, len(MEANS), n_rows, chunks=chunks)
    normal = rng.normal(size=(n_rows, MEANS.shape[1]), chunks=(chunks, MEANS.shape[1]))
    x = da.map_blocks(
        lambda k, z: MEANS[k[:, 0]] + SCALES[k] * z,
        which[:, None],
        normal,
        dtype="f8",
        chunks=normal.chunks,
    )
    x.to_zarr(path, overwrite=True)


def main() -> None:
    """Make rows unless some are given, choose K, and write the model, its report and the picture."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("places", nargs="*", help="data.zarr model.zarr report.html picture.png")
    options.add_argument("--rows", type=int, default=50_000, help="of data of its own")
    given = options.parse_args()
    mpl.use("agg")
    own = "choose_k.zarr", "choose_k.model.zarr", "choose_k.html", "choose_k.png"
    data, model, report, picture = given.places or own
    if not given.places:
        make_rows(data, given.rows)
    found = select(data, range(2, 9), random_state=0)
    for one in found.entries:
        gain = one.held_out_gain_per_row
        more = (
            "" if gain is None else f", gains {gain:.4f} +- {one.held_out_gain_standard_error:.4f}"
        )
        print(f"K = {one.n_components}: BIC {one.bic:,.0f}{more}{' <' * (one == found.best)}")
    found.model.save(model, overwrite=True)
    told = write_report(model, report, data, overwrite=True)
    print(told["found"], told["trust"], *told["doubts"], sep="\n")
    found.plot().figure_.savefig(picture, dpi=100)
    print(f"report: {report}, picture: {picture}")


if __name__ == "__main__":
    main()
