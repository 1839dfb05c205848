"""Wind regimes of a reanalysis: how many there are, where they lie, and how sure that is.

    python examples/wind_regimes.py                                        # data of its own
    python examples/wind_regimes.py winds.zarr regimes.zarr regimes.png    # yours

Rows are the cells of a grid at each time, with two features: the wind to the east and to the
north. The number of regimes is chosen by BIC. Each cell counts by its area. The picture has the
map of regimes, the probability of the regime in each cell, and the criterion by the number of
regimes; the README shows that of this script without arguments. It needs Matplotlib. Without
names of yours, winds.zarr, regimes.zarr and wind_regimes.png are left in the folder in which it runs.

The data of its own have the layout of ERA5 on single levels: 10 m wind on latitude and longitude
at a few dozen times, packed into 16 bits.
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from daskgmm import plot, select

DIMS = ("time", "latitude", "longitude")
COUNTS = range(2, 10)

# Mean wind to the east and to the north (m/s), their standard deviations, and their correlation.
REGIMES = {
    "polar easterlies": (-4.5, 0.3, 1.4, 1.4, 0.0),
    "westerlies of the north": (5.5, 2.5, 2.4, 2.8, 0.3),
    "trade winds of the north": (-6.5, -4.0, 1.7, 1.4, 0.4),
    "doldrums": (-0.5, 0.3, 1.2, 1.1, 0.0),
    "trade winds of the south": (-6.5, 4.5, 1.7, 1.4, -0.4),
    "westerlies of the south": (11.0, -2.0, 2.2, 2.6, -0.3),
}
FRONTS = (62.0, 31.0, 9.0, 1.0, -30.0)
"""Latitude at which each regime but the last ends, on average."""


def regimes_of(latitude: np.ndarray, longitude: np.ndarray, day: int) -> np.ndarray:
    """Number of the regime of each cell; the fronts meander, and drift with the days."""
    along = np.radians(longitude) + 0.02 * day
    meander = 5 * np.sin(3 * along) + 3 * np.sin(5 * along + 1) + 2 * np.sin(8 * along + 0.3 * day)
    fronts = np.array(FRONTS)[:, None] + meander * np.array([1.2, 1.0, 0.5, 0.5, 0.8])[:, None]
    regimes = (latitude[:, None] < fronts[:, None]).sum(axis=0)
    # The far south has easterlies, as the far north has.
    return np.where(latitude[:, None] < -66 + meander, 0, regimes)


def make_winds(path: Path, step: float = 2.0, n_times: int = 24) -> None:
    """Write winds of six regimes, with weather that is correlated over some cells."""
    rng = np.random.default_rng(0)
    latitude, longitude = np.arange(90, -90.1, -step), np.arange(-180, 180, step)
    table = np.array(list(REGIMES.values()))
    wind = np.empty((2, n_times, latitude.size, longitude.size))
    for day in range(n_times):
        noise = rng.normal(size=(2, latitude.size, longitude.size))
        weather = gaussian_filter(noise, (0, 1.5, 1.5), mode="wrap")
        a, b = weather / weather.std(axis=(1, 2), keepdims=True)
        u, v, of_u, of_v, r = table[regimes_of(latitude, longitude, day)].transpose(2, 0, 1)
        wind[:, day] = u + of_u * a, v + of_v * (r * a + np.sqrt(1 - r**2) * b)
    names = {"u10": "10 metre wind to the east", "v10": "10 metre wind to the north"}
    variables = {
        name: (DIMS, values, {"long_name": text, "units": "m s-1"})
        for (name, text), values in zip(names.items(), wind, strict=True)
    }
    variables["area"] = (DIMS[1], np.cos(np.radians(latitude)).clip(0), {"units": "1"})
    time = np.datetime64("2020-01-01", "ns") + np.arange(n_times) * np.timedelta64(15, "D")
    winds = xr.Dataset(
        variables,
        {
            "time": time,
            "latitude": (DIMS[1], latitude, {"units": "degrees_north"}),
            "longitude": (DIMS[2], longitude, {"units": "degrees_east"}),
        },
    )
    packed = {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -32768}
    packed["chunks"] = (1, latitude.size, longitude.size)
    winds.to_zarr(path, encoding={"u10": packed, "v10": packed}, consolidated=False)


def main(data: str, output: str, picture: str) -> None:
    """Choose the number of regimes, write their map, and draw."""
    winds = xr.open_zarr(data, consolidated=False)
    cells = winds[["u10", "v10"]]
    found = select(cells, COUNTS, sample_weight=winds["area"], random_state=0)
    model = found.model

    regimes = model.predict(cells)  # lazy, on the dimensions and coordinates of the winds
    regimes.to_dataset().to_zarr(output, mode="w", consolidated=False)
    model.save(Path(output).with_suffix(".model.zarr"), overwrite=True)
    print(f"{model.n_components} regimes; east and north in m/s:")
    for weight, (east, north) in zip(model.weights_, model.means_, strict=True):
        print(f"  {weight:.0%} of the area, {east:+.1f} {north:+.1f}")
    draw(found, cells, picture)


def draw(found, cells: xr.Dataset, picture: str) -> None:
    """Draw the map of the first time, and the criterion."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture: matplotlib is not installed (pip install 'daskgmm[plot]')")
        return
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12.5, 5.4), width_ratios=(1.25, 1), layout="constrained"
    )
    plot.map(found.model, cells, ax=left)
    plot.selection(found, ax=right)
    figure.savefig(picture, dpi=100)
    print(f"picture: {picture}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(*sys.argv[1:])
    elif len(sys.argv) > 1:
        sys.exit(__doc__)
    else:
        if not Path("winds.zarr").exists():
            make_winds(Path("winds.zarr"))
        main("winds.zarr", "regimes.zarr", "wind_regimes.png")
