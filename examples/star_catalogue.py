"""Error bars in a star catalogue: how wide a cluster is, and not how wide its errors make it.

    python examples/star_catalogue.py                          # 30,000 stars, in seconds
    python examples/star_catalogue.py --stars 20000000         # full size
    python examples/star_catalogue.py catalogue.parquet out.png    # yours, with Gaia's columns

The columns are those of Gaia: proper motions pmra and pmdec (mas/yr), their errors pmra_error and
pmdec_error, and pmra_pmdec_corr, the correlation of the errors. Faint stars have the larger errors.
`measurement_noise` takes the covariance of each star's errors off what is fitted.
"""

import argparse

import matplotlib as mpl
import numpy as np
import pandas as pd

from daskgmm import GaussianMixture
from daskgmm.plot.drawing import ellipse

MOTIONS = ["pmra", "pmdec"]
CLUSTER = {"share": 0.3, "mean": [-6.0, 3.0], "width": 0.25}
FIELD = {"mean": [-2.0, -3.0], "covariance": [[14.0, 5.0], [5.0, 9.0]]}


def make_catalogue(path: str, n: int) -> None:
    """Write stars of a cluster and of the field, seen with errors that grow with magnitude."""
    rng = np.random.default_rng(0)
    is_member = rng.random(n) < CLUSTER["share"]
    field = rng.multivariate_normal(FIELD["mean"], FIELD["covariance"], n)
    cluster = CLUSTER["mean"] + CLUSTER["width"] * rng.normal(size=(n, 2))
    magnitude = 21 - rng.exponential(1.5, n).clip(max=12)
    errors = 0.02 + 0.9 * 10 ** (0.3 * (magnitude - 21))[:, None] * rng.uniform(0.8, 1.2, (n, 2))
    correlation = rng.uniform(-0.4, 0.4, n)
    z = rng.normal(size=(n, 2))
    z[:, 1] = correlation * z[:, 0] + np.sqrt(1 - correlation**2) * z[:, 1]
    seen = np.where(is_member[:, None], cluster, field) + errors * z
    table = pd.DataFrame(seen, columns=MOTIONS)
    table[["pmra_error", "pmdec_error"]] = errors
    table["pmra_pmdec_corr"], table["phot_g_mean_mag"] = correlation, magnitude
    table.to_parquet(path)


def noise_of(stars: pd.DataFrame) -> np.ndarray:
    """Covariance of the errors of each star, shape (n, 2, 2)."""
    errors = stars[["pmra_error", "pmdec_error"]].to_numpy()
    noise = errors[:, :, None] * errors[:, None, :]
    noise[:, 0, 1] *= stars.pmra_pmdec_corr
    noise[:, 1, 0] *= stars.pmra_pmdec_corr
    return noise


def main() -> None:
    """Make a catalogue unless one is given, and fit it with and without its errors."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("places", nargs="*", help="catalogue.parquet picture.png")
    options.add_argument("--stars", type=int, default=30_000, help="of a catalogue of its own")
    given = options.parse_args()
    data, picture = given.places or ("catalogue.parquet", "star_catalogue.png")
    if not given.places:
        make_catalogue(data, given.stars)
    stars = pd.read_parquet(data)
    x = stars[MOTIONS].to_numpy()
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
    ax.hist2d(*x.T, bins=150, range=[(-12, 6), (-10, 8)], cmap="Greys", norm="log")
    fits = {
        "as they are seen": (None, "#CC6677"),
        "without their errors": (noise_of(stars), "#332288"),
    }
    for name, (noise, colour) in fits.items():
        model = GaussianMixture(2, random_state=0).fit(x, measurement_noise=noise)
        k = int(np.argmin(np.linalg.det(model.covariances_)))  # the cluster is the narrow one
        width = np.sqrt(np.trace(model.covariances_[k]) / 2)
        print(
            f"{name}: the cluster is {width:.3f} mas/yr wide, {model.weights_[k]:.1%} of the stars"
        )
        for mean, covariance in zip(model.means_, model.covariances_, strict=True):
            path = ellipse(mean, covariance, 2.15)  # holds 90% of the stars
            ax.add_patch(mpl.patches.PathPatch(path, fill=False, edgecolor=colour, linewidth=1.8))
        ax.plot([], color=colour, label=f"{name}: {width:.2f} mas/yr")
    ax.set(
        xlabel="pmra (mas/yr)",
        ylabel="pmdec (mas/yr)",
        title="90% of the cluster, and of the field",
    )
    ax.legend(loc="upper right")
    figure.savefig(picture, dpi=100)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
