"""Anomalies in a table with time: what sensors say together that they never said before.

    python examples/anomalies_in_time.py                            # 60 days, in seconds
    python examples/anomalies_in_time.py --days 6000                # full size: 8.6 million rows
    python examples/anomalies_in_time.py sensors.parquet out.png    # yours: time, and columns of numbers

A machine has two regimes, by day and by night. Each value of a fault may be usual by itself;
together they are not. Rows that belong to neither regime are noise, whose label is -1, and noise
within an hour of each other is one event.
"""

import argparse

import matplotlib as mpl
import numpy as np
import pandas as pd

from daskgmm import GaussianMixture, open_rows

N_REGIMES, FEWEST = 2, 10
FAULTS = {"pump slows": (0.31, 6), "sensor sticks": (0.55, 10), "leak": (0.83, 4)}
"""When they begin, as a share of the time, and the hours that they last."""


def make_table(path: str, days: int) -> None:
    """Write a row a minute: load by day and night, and what follows from it, with three faults."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2024-01-01", periods=1440 * days, freq="min")
    hour = time.hour + time.minute / 60
    load = np.where((hour > 6) & (hour < 22), 0.8, 0.25) + rng.normal(0, 0.05, len(time))
    flow = 40 * load + rng.normal(0, 1, len(time))
    table = pd.DataFrame({"time": time, "load": load, "flow": flow})
    table["temperature"] = 30 + 35 * load + rng.normal(0, 1.5, len(time))
    table["pressure"] = 2 + 0.05 * flow + rng.normal(0, 0.05, len(time))
    for name, (begin, hours) in FAULTS.items():
        rows = slice(int(begin * len(time)), int(begin * len(time)) + 60 * hours)
        if name == "pump slows":
            table.loc[table.index[rows], "flow"] *= 0.7
        elif name == "sensor sticks":
            table.loc[table.index[rows], "temperature"] = table.temperature[rows.start]
        else:
            table.loc[table.index[rows], "pressure"] -= 0.5
    table.to_parquet(path, row_group_size=100_000)


def events_of(time: pd.Series, is_noise: np.ndarray) -> pd.DataFrame:
    """Begin, end and number of rows of each event."""
    found = time[is_noise]
    number = (found.diff() > pd.Timedelta("1h")).cumsum()
    events = found.groupby(number).agg(begin="min", end="max", n="size")
    return events[events.n >= FEWEST]


def draw(time: pd.Series, is_noise: np.ndarray, events: pd.DataFrame, picture: str) -> None:
    """Draw how many rows of each hour are of no regime, and the events."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    hourly = pd.Series(is_noise, pd.DatetimeIndex(time)).resample("1h").mean()
    figure, ax = plt.subplots(figsize=(10, 3.4), layout="constrained")
    for event in events.itertuples():
        ax.axvspan(event.begin, event.end, color="#DDCC77", alpha=0.7)
        ax.annotate(f"{event.begin:%d %b %H:%M}", (event.end, 103), fontsize="small")
    ax.plot(100 * hourly, color="#332288", linewidth=0.9)
    ax.set(
        ylabel="rows of an hour that are noise (%)", ylim=(0, 112), title=f"{len(events)} events"
    )
    figure.savefig(picture, dpi=100)


def main() -> None:
    """Make a table unless one is given, fit it, and tell and draw the events."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("places", nargs="*", help="sensors.parquet picture.png")
    options.add_argument("--days", type=int, default=60, help="length of a table of its own")
    given = options.parse_args()
    data, picture = given.places or ("sensors.parquet", "anomalies_in_time.png")
    if not given.places:
        make_table(data, given.days)
    time = pd.read_parquet(data, columns=["time"]).time
    columns = [name for name in pd.read_parquet(data).columns if name != "time"]
    rows = open_rows(data, columns=columns)
    model = GaussianMixture(N_REGIMES, noise=True, random_state=0).fit(rows)
    is_noise = np.asarray(model.predict(rows)) == -1
    events = events_of(time, is_noise)
    print(events.to_string(index=False))
    draw(time, is_noise, events, picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
