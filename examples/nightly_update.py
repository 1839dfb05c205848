"""A nightly update: a model that goes on with the rows of each day, without reading old ones again.

    python examples/nightly_update.py                                     # 10 nights, in seconds
    python examples/nightly_update.py --rows 5000000 --nights 30          # full size: 2.4 GB

Each night the rows of the day are written to a Parquet file, and

    daskgmm update model.zarr day-05.parquet --half-life ROWS

adds them to the model; rows older than the half-life count for half. `daskgmm info` tells what
drifted. One component moves by and by, and on the sixth day a new habit begins: the rows become
less likely before the update, which is when to fit anew. `cluster_configs/daskgmm.timer` and
`daskgmm.crontab` start such a command every night.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

NEW_HABIT = 6


def write_day(path: Path, night: int, n_rows: int) -> None:
    """Write the rows of a day."""
    rng = np.random.default_rng(night)
    means = np.array([[0.0, 0.0], [6.0, 0.3 * night], [3.0, 8.0]])
    x = means[rng.choice(3, n_rows, p=[0.5, 0.3, 0.2])] + rng.normal(size=(n_rows, 2))
    if night >= NEW_HABIT:
        x[: n_rows // 10] = rng.normal([12, -4], 0.7, size=(n_rows // 10, 2))
    pd.DataFrame(x, columns=["duration", "amount"]).to_parquet(path)


def daskgmm(*words: object) -> dict:
    """What a command prints as JSON."""
    command = [sys.executable, "-m", "daskgmm", *map(str, words), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main() -> None:
    """Fit the first day, update with each of the others, and draw what drifted."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rows", type=int, default=20_000, help="of each day")
    options.add_argument("--nights", type=int, default=10)
    options.add_argument("--folder", type=Path, default=Path("nightly"))
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    model = given.folder / "model.zarr"
    for night in range(given.nights):
        day = given.folder / f"day-{night:02d}.parquet"
        write_day(day, night, given.rows)
        if night == 0:
            how = ("--components", 3, "--seed", 0, "--overwrite")
            daskgmm("fit", day, *how, "--output", model)
        else:
            daskgmm("update", model, day, "--half-life", 2 * given.rows)
    updates = daskgmm("info", model)["updates"]
    before = np.array([one["log_likelihood_before"] for one in updates])
    after = np.array([one["log_likelihood_after"] for one in updates])
    for night, (was, became) in enumerate(zip(before, after, strict=True), 1):
        print(f"night {night}: {was:.3f} nats per new row before the update, {became:.3f} after")
    draw(before, after, given.folder / "nightly_update.png")
    print(f"picture: {given.folder / 'nightly_update.png'}")


def draw(before: np.ndarray, after: np.ndarray, picture: Path) -> None:
    """Draw how likely the new rows of each night were."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    nights = np.arange(1, len(before) + 1)
    ax.plot(nights, before, "o-", color="#CC6677", label="before the update")
    ax.plot(nights, after, "o-", color="#332288", label="after it")
    ax.axvline(NEW_HABIT, color="grey", linestyle=":", label="a new habit begins")
    ax.set(
        xlabel="night",
        ylabel="log-likelihood per new row (nats)",
        title="How well the model knew the day",
    )
    ax.legend()
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main()
