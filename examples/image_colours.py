"""The colours of a large image: each pixel is a row of three features, and gets the colour of its class.

    python examples/image_colours.py                                     # 600 x 600, in seconds
    python examples/image_colours.py --side 30000                        # full size: 900 million pixels
    python examples/image_colours.py image.zarr classes.zarr out.png     # yours

The image is a Zarr group with the variables red, green and blue on (y, x). It is never in memory
as a whole: it is fitted, and labelled, chunk by chunk. The picture shows one of so many pixels.
"""

import argparse

import dask.array as da
import matplotlib as mpl
import numpy as np
import xarray as xr

from daskgmm import GaussianMixture

BANDS = ["red", "green", "blue"]
N_COLOURS = 7
SKY, SUN, SEA, HILL = (0.45, 0.65, 0.95), (1.0, 0.85, 0.4), (0.05, 0.25, 0.45), (0.2, 0.4, 0.15)


def make_image(path: str, side: int) -> None:
    """Write a landscape with the noise of a camera, as wide as it is high."""
    along = (da.arange(side, chunks=min(side, 2000)) + 0.5) / side
    y, x = along[:, None], along[None, :]
    sun = np.hypot(x - 0.7, y - 0.25) < 0.09
    hills = y > 0.5 + 0.08 * np.sin(9 * x) + 0.05 * np.sin(23 * x + 1)
    sea = y > 0.68 + 0.01 * np.sin(40 * x)
    bands = {}
    for j, name in enumerate(BANDS):
        sky = SKY[j] + (1 - SKY[j]) * 0.6 * y
        waves = SEA[j] + 0.08 * (np.sin(160 * y + 5 * x) > 0.6)
        value = da.where(sea, waves, da.where(hills, HILL[j], da.where(sun, SUN[j], sky)))
        noise = da.random.default_rng(j).normal(0, 0.015, (side, side), chunks=value.chunks)
        bands[name] = (("y", "x"), (value + noise).astype("float32"))
    xr.Dataset(bands).to_zarr(path, mode="w", consolidated=False)


def draw(image: xr.Dataset, labels: xr.DataArray, model: GaussianMixture, picture: str) -> None:
    """Draw the image, its classes in their mean colours, and these with their shares."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    step = max(1, image.sizes["x"] // 600)
    shown = {"y": slice(None, None, step), "x": slice(None, None, step)}
    palette = model.means_.clip(0, 1)
    figure, axes = plt.subplots(
        1, 3, figsize=(11, 4.6), width_ratios=(4, 4, 1), layout="constrained"
    )
    pixels = image[BANDS].isel(shown).to_array().transpose("y", "x", "variable")
    axes[0].imshow(pixels.to_numpy().clip(0, 1))
    axes[1].imshow(palette[labels.isel(shown).to_numpy().astype(int)])
    order = np.argsort(-model.weights_)
    axes[2].imshow(palette[order][:, None], aspect="auto")
    axes[2].set_yticks(range(len(order)), [f"{model.weights_[k]:.0%}" for k in order])
    titles = (
        "The image" if step == 1 else f"One of {step**2} pixels",
        f"{len(order)} classes",
        "Shares",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xticks=[])
    for ax in axes[:2]:
        ax.set_yticks([])
    figure.savefig(picture, dpi=100)


def main() -> None:
    """Make an image unless one is given, find its colours, and draw."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("places", nargs="*", help="image.zarr classes.zarr picture.png")
    options.add_argument("--side", type=int, default=600, help="pixels of an image of its own")
    given = options.parse_args()
    image, classes, picture = given.places or ("image.zarr", "classes.zarr", "image_colours.png")
    if not given.places:
        make_image(image, given.side)
    pixels = xr.open_zarr(image, consolidated=False)[BANDS]
    model = GaussianMixture(N_COLOURS, random_state=0).fit(pixels)
    model.predict(pixels).to_dataset().to_zarr(classes, mode="w", consolidated=False)
    for share, mean in zip(model.weights_, model.means_, strict=True):
        print(
            f"{share:5.1%} of the pixels: #"
            + "".join(f"{round(255 * c):02x}" for c in mean.clip(0, 1))
        )
    labels = xr.open_zarr(classes, consolidated=False, mask_and_scale=False).labels
    draw(pixels, labels, model, picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
