"""Classify ocean profiles by their shape, and put the classes back on the map.

    python examples/ocean_profiles.py                                # data of its own
    python examples/ocean_profiles.py ocean.zarr classes.zarr map.png    # yours

This is the work of pyXpcm (Maze et al. 2017): a profile is a row, temperature and salinity at
each depth are its features, which are standardised and projected on as many principal components as
have 99% of their variance, and a mixture says which classes of profiles there are, and how surely
each profile is of each. Cells of land and of shallow sea have gaps, and come back as gaps.
The map needs matplotlib; without a name of yours it is ocean_profiles.png in this folder.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from daskgmm import GaussianMixture, open_rows

N_CLASSES = 4
# Classes are numbered from cold to warm at the surface, which is the first feature.
SETTINGS = {"standardize": True, "n_projected": 0.99, "order": "first-feature", "random_state": 0}
DIMS = ("time", "depth", "latitude", "longitude")


def classify(ocean: xr.Dataset, output: str) -> xr.Dataset:
    """Fit, predict, and write classes and their probabilities side by side.

    The whole of the job: nothing is computed before ``to_zarr`` but the fit, and no more than a
    few chunks are in memory at once.
    """
    profiles = open_rows(ocean, variables=["TEMP", "PSAL"], feature_dim="depth", mask="sea")
    model = GaussianMixture(N_CLASSES, **SETTINGS).fit(profiles, sample_weight=ocean["area"])
    classes = xr.Dataset(
        {"labels": model.predict(profiles), "probabilities": model.predict_proba(profiles)}
    )
    classes.to_zarr(output, mode="w", consolidated=False)
    model.save(Path(output).with_suffix(".model.zarr"), overwrite=True)
    return xr.open_zarr(output, consolidated=False)


def make_ocean(path: Path, step: float = 3.0, n_times: int = 4) -> None:
    """Write profiles laid out as gridded Argo products are: four regimes with fronts between."""
    rng = np.random.default_rng(0)
    latitude, longitude = np.arange(-75, 75.1, step), np.arange(0, 360, step)
    depth = np.array([5.0, 20, 50, 100, 150, 200, 300, 400, 600, 800, 1000, 1500])
    time = np.array("2020-02-15", "M8[ns]") + np.arange(n_times) * np.timedelta64(90, "D")
    shape = (n_times, 1, latitude.size, longitude.size)
    season = np.sin(2 * np.pi * np.arange(n_times) / 4)[:, None, None, None]
    meander = 4 * np.sin(np.radians(3 * longitude)) + 2 * season
    distance = np.abs(latitude[:, None] + 3) + meander
    # At the surface and below the thermocline, how deep that is, and salinity as temperature.
    regimes = np.array(
        [
            [28, 5, 90, 34.8, 34.7],
            [23, 5, 350, 36.5, 34.9],
            [11, 4, 250, 34.6, 34.6],
            [0, 1, 60, 33.6, 34.7],
        ]
    )
    share = 1 / (1 + np.exp(-(distance[..., None] - [14, 38, 55]) / 0.5))
    share = np.stack([1 - share[..., 0], *-np.diff(share).transpose(4, 0, 1, 2, 3), share[..., 2]])
    top, deep, thickness, fresh, salty = np.tensordot(regimes.T, share, 1)
    decay = np.exp(-depth[:, None, None] / (thickness * np.exp(0.2 * rng.normal(size=shape))))
    noise = 0.4 * rng.normal(size=(2, n_times, depth.size, *shape[2:]))
    temp = deep + (top + 1.5 * rng.normal(size=shape) - deep) * decay + noise[0]
    salt = salty + (fresh + 0.3 * rng.normal(size=shape) - salty) * decay + 0.1 * noise[1]
    where = np.radians(latitude)[:, None], np.radians(longitude)
    height = np.cos(2 * where[1] - 0.6 + 0.7 * np.sin(2 * where[0])) + 0.3 * np.sin(5 * where[1])
    floor = 4000 * (0.55 - height)  # of the sea, in m: above 0 is land
    there = floor > depth[:, None, None]
    variables = {
        "TEMP": (DIMS, np.where(there, temp, np.nan), {"units": "degree_Celsius"}),
        "PSAL": (DIMS, np.where(there, salt, np.nan), {"units": "1e-3"}),
        "sea": (DIMS[2:], (floor > 0).astype("i1"), {"flag_values": np.array([0, 1], "i1")}),
        "area": (DIMS[2], np.cos(np.radians(latitude)), {"units": "1"}),
    }
    variables["sea"][2]["flag_meanings"] = "land sea"
    ocean = xr.Dataset(variables, dict(zip(DIMS, (time, depth, latitude, longitude), strict=True)))
    packed = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 15.0, "_FillValue": -32768}
    packed["chunks"] = (1, depth.size, latitude.size, longitude.size)
    ocean.to_zarr(path, encoding={"TEMP": packed, "PSAL": packed}, consolidated=False)


def draw(classes: xr.Dataset, picture: str) -> None:
    """Map of the classes at the first time, and of how sure they are."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no map: matplotlib is not installed (pip install matplotlib)")
        return
    mpl.use("agg")
    from matplotlib import pyplot as plt

    first = classes.isel(time=0)
    colours = plt.get_cmap("viridis", N_CLASSES)
    figure, axes = plt.subplots(2, 1, figsize=(9, 7.5), layout="constrained", sharex=True)
    labels = first.labels.plot(
        ax=axes[0], cmap=colours, vmin=-0.5, vmax=N_CLASSES - 0.5, add_colorbar=False
    )
    figure.colorbar(labels, ax=axes[0], ticks=range(N_CLASSES), label="class, from cold to warm")
    first.probabilities.max("component").plot(
        ax=axes[1], cmap="magma", vmin=0.5, vmax=1, cbar_kwargs={"label": "its probability"}
    )
    for ax, title in zip(axes, ("Most probable class", "How sure it is"), strict=True):
        ax.set(title=f"{title} (grey: land and shallow sea)", facecolor="lightgrey", aspect="equal")
        ax.set(xticks=range(0, 361, 60), yticks=range(-60, 61, 30))
    axes[0].set_xlabel("")
    figure.savefig(picture, dpi=100)
    print(f"map: {picture}")


def main(data: str, output: str, picture: str) -> None:
    """Classify, tell how much of the sea each class is, and draw."""
    ocean = xr.open_zarr(data, consolidated=False)
    classes = classify(ocean, output)
    surface = ocean.TEMP.isel(depth=0)
    for k in range(N_CLASSES):
        own = classes.labels == k
        share = float(own.where(classes.labels.notnull()).weighted(ocean.area).mean())
        print(
            f"class {k}: {share:.0%} of the sea, {float(surface.where(own).mean()):.1f} C at the top"
        )
    draw(classes, picture)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(*sys.argv[1:])
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_ocean(Path(folder) / "ocean.zarr")
            main(f"{folder}/ocean.zarr", f"{folder}/classes.zarr", "ocean_profiles.png")
