"""From CSV to labels with keys, by the command line alone, beside scikit-learn on the same rows.

    python examples/flights_from_csv.py                # makes flights of its own
    python examples/flights_from_csv.py flights.csv    # yours, with the columns of nycflights13

Each command is printed as it is typed in a shell. They leave flights.parquet, model.zarr and
labels.parquet in a folder that is removed, or beside your file, and the picture
flights_from_csv.png here, or there.
"""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture as InMemory

FEATURES = ["dep_delay", "arr_delay", "air_time", "distance"]
KEYS = ["time_hour", "carrier", "flight"]
N_COMPONENTS = 3


def make_flights(path: Path, n: int = 20_000) -> None:
    """Write flights as the package nycflights13 has them: short, long, and late ones; some cancelled."""
    rng = np.random.default_rng(0)
    distance = rng.choice([200, 500, 760, 1000, 1600, 2450], n) + rng.normal(0, 30, n).round()
    late = np.where(rng.random(n) < 0.15, rng.gamma(2, 40, n), rng.normal(-2, 5, n)).round()
    air_time = (20 + distance / 7.5 + rng.normal(0, 8, n)).round()
    flights = pd.DataFrame(
        {
            "time_hour": pd.date_range("2013", periods=n, freq="26min").strftime(
                "%Y-%m-%dT%H:00:00Z"
            ),
            "carrier": rng.choice(["UA", "B6", "EV", "DL"], n),
            "flight": rng.integers(1, 8500, n),
            "dep_delay": late,
            "arr_delay": late + rng.normal(-5, 12, n).round(),
            "air_time": air_time,
            "distance": distance,
        }
    )
    flights.loc[rng.random(n) < 0.02, ["dep_delay", "arr_delay", "air_time"]] = np.nan
    flights.to_csv(path, index=False)


def run(*words: str, folder: Path) -> None:
    """Run a command, as in a shell."""
    print(f"$ {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", *words], cwd=folder, check=True)


def main(csv: Path, picture: Path) -> None:
    """Convert, fit, predict and draw; then the same by scikit-learn, which holds all rows at once."""
    folder, names = csv.parent, ",".join(FEATURES)
    out = ("--output", "flights.parquet", "--overwrite")
    # Features are numbers, and rows that lack one are left out; keys are copied as they are.
    keep = ("--keep", ",".join(KEYS))
    run(
        "daskgmm",
        "convert",
        csv.name,
        "--columns",
        names,
        *keep,
        "--missing",
        "drop",
        *out,
        folder=folder,
    )
    out = ("--output", "model.zarr", "--overwrite")
    how = ("--columns", names, "--components", str(N_COMPONENTS), "--seed", "0")
    run("daskgmm", "fit", "flights.parquet", *how, *out, folder=folder)
    out = ("--output", "labels.parquet", "--overwrite")
    model = ("flights.parquet", "--model", "model.zarr")
    run("daskgmm", "predict", *model, *keep, "--results", "labels,log_density", *out, folder=folder)
    out = ("--output", str(picture), "--overwrite")
    run("daskgmm", "plot", "pairs", "model.zarr", "flights.parquet", *out, folder=folder)

    found = pd.read_parquet(folder / "labels.parquet")
    print(
        found.groupby("labels").agg(flights=("flight", "size"), log_density=("log_density", "mean"))
    )
    x = pd.read_csv(csv)[FEATURES].dropna()
    peer = InMemory(N_COMPONENTS, n_init=5, tol=1e-6, max_iter=1000, random_state=0).fit(x)
    print(
        f"log-likelihood per row: {found.log_density.mean():.6f}, scikit-learn {peer.score(x):.6f}"
    )
    pairs = pd.crosstab(found.labels.to_numpy(), peer.predict(x))  # labels have no order
    print(f"rows with the same label: {pairs.max(axis=1).sum() / len(x):.1%} of {len(x):,}")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        given = Path(sys.argv[1]).absolute()
        main(given, given.with_name("flights_from_csv.png"))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            make_flights(Path(temporary) / "flights.csv")
            main(Path(temporary) / "flights.csv", Path("flights_from_csv.png").absolute())
