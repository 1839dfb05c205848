"""Maps: the most probable component of each cell of a grid, and how sure it is.

A map has a bounded number of cells, whatever the grid has: of two dimensions every n-th cell, and of
all others one place. Of stored grids no more is read than the chunks that these lie in.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import top_components
from daskgmm.errors import ParameterError
from daskgmm.fitted import FittedMixture
from daskgmm.kernel import NOISE, Block, Float64Array, Mixture
from daskgmm.plot.drawing import (
    COLOURS,
    OTHERS,
    Display,
    Panels,
    colour_bar,
    matplotlib_module,
    plain,
    probability,
    share,
)
from daskgmm.plot.subject import largest_components
from daskgmm.tables import Grid, Returned, dims_of_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Along", "MapDisplay"]

_MOST_CELLS = 300
"""Cells of a map along each dimension."""
_SHADES = 16
_NO_LABEL = -2
_GAP = "#DDDDDD"
_NO_DATA = "no data"
_OF_NOISE = "black"
_LATITUDES = ("lat", "latitude", "nav_lat", "y")


@dataclass(frozen=True, eq=False)
class Along:
    """A dimension of a map.

    Attributes
    ----------
    name : str
        With its unit, for an axis.
    values : ndarray of shape (n,)
        Places of the cells: coordinates, or numbers of the cells where there are none in order.
    """

    name: str
    values: NDArray[Any]

    @classmethod
    def of(cls, labels: Any, dim: Hashable, step: int) -> Self:
        """A dimension of an xarray.DataArray, which has one of so many cells along it."""
        if dim in labels.coords:
            coordinate = labels.coords[dim]
            values, unit = coordinate.to_numpy(), str(coordinate.attrs.get("units", "")).strip()
            steps = np.diff(values) if values.dtype.kind in "iuf" else np.zeros(1)
            if (steps > 0).all() or (steps < 0).all():
                return cls(plain(f"{dim} ({unit})" if unit else str(dim)), values)
        return cls(f"{plain(str(dim))} (number of the cell)", step * np.arange(labels.sizes[dim]))


@dataclass(eq=False)
class MapDisplay(Display):
    """The most probable component of each cell, and its probability.

    Made by :meth:`from_estimator`, which is ``daskgmm.plot.map``.

    Parameters
    ----------
    mixture : Mixture
    x, y : Along
    labels : ndarray of shape (len(y), len(x)), int
        -1 for noise, -2 for cells with gaps.
    certainty : ndarray of the same shape
        Probability of the label; NaN for cells with gaps.
    where : str
        What of the grid is shown.
    """

    mixture: Mixture
    x: Along
    y: Along
    labels: NDArray[np.int64]
    certainty: Float64Array
    where: str

    title: ClassVar[str] = "Most probable component, and its probability"

    @classmethod
    def from_estimator(
        cls,
        model: FittedMixture,
        X: Any,
        *,
        at: Mapping[str, int | float | str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the most probable component of each cell of a grid, and its probability.

        Parameters
        ----------
        model : GaussianMixture
            Fitted.
        X : xarray.Dataset, xarray.DataArray, or path or URL of variables on a grid
            Its cells lie along two dimensions or more; the last two are drawn.
        at : mapping, optional
            The place along each other dimension: counted from 0, such as ``{"time": 3}``; a float is
            a value of its coordinate, such as ``{"depth": 5.0}``; a text is a date along one of times,
            such as ``{"time": "2020-01-03"}``, whose first place is taken. By default the first.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        MapDisplay

        Raises
        ------
        ParameterError
            If the rows are no cells along two dimensions, or a place is not there.
        """
        return cls.of(model, X, at=at).plot(ax)

    @classmethod
    def of(
        cls, model: FittedMixture, X: Any, *, at: Mapping[str, int | float | str] | None = None
    ) -> Self:
        """As :meth:`from_estimator`, without drawing."""
        X = model._as_fitted(X)
        names = getattr(model, "feature_names_in_", None)
        dims = dims_of_cells(X, None if names is None else list(names))
        if dims is None or len(dims) < 2:
            raise ParameterError(
                "a map needs rows that are cells along two dimensions or more, as of xarray, or of "
                "variables of a group (--variables); "
                + ("these are rows alone" if dims is None else f"these lie along {dims[0]!r} alone")
            )
        mixture, places = model._mixture, at or {}
        if unknown := [dim for dim in places if dim not in dims[:-2]]:
            raise ParameterError(
                f"there is no dimension {unknown[0]!r} to choose a place along; "
                f"the others than {dims[-2]!r} and {dims[-1]!r}, which are drawn, are: "
                f"{', '.join(map(repr, dims[:-2])) or 'none'}"
            )
        sizes = _sizes(X, dims)
        chosen = {dim: _place(X, dim, places.get(str(dim), 0), sizes[dim]) for dim in dims[:-2]}
        steps = {dim: -(-sizes[dim] // _MOST_CELLS) for dim in dims[-2:]}
        index = {**chosen, **{dim: slice(None, None, step) for dim, step in steps.items()}}
        found = _of_cells(model, X, index)
        labels, certainty = found.isel(found=0), found.isel(found=1)
        where = [_said_of_place(labels, dim, place, sizes[dim]) for dim, place in chosen.items()]
        where += [f"One of {step} cells along {dim}." for dim, step in steps.items() if step > 1]
        y, x = _oriented(dims[-2:])
        return cls(
            *(mixture, Along.of(labels, x, steps[x]), Along.of(labels, y, steps[y])),
            labels.transpose(y, x).fillna(_NO_LABEL).to_numpy().astype(np.int64),
            certainty.transpose(y, x).to_numpy(),
            " ".join(where),
        )

    @property
    def components(self) -> tuple[int, ...]:
        """Components that have a colour of their own."""
        return largest_components(self.mixture, len(COLOURS))

    @property
    def shares(self) -> dict[str, float]:
        """Share of the cells without gaps that each class has, by its name."""
        there = self.labels[self.labels != _NO_LABEL]
        counts = {str(k): int(np.sum(there == k)) for k in self.components}
        if self.mixture.noise is not None:
            counts["noise"] = int(np.sum(there == NOISE))
        if len(self.components) < self.mixture.n_components:
            counts["others"] = len(there) - sum(counts.values())
        return {name: n / max(len(there), 1) for name, n in counts.items()}

    @property
    def panels(self) -> Panels:
        """Labels, and below or beside them how sure they are."""
        width, height = _extent(self.x.values), _extent(self.y.values)
        shape = height / width if self._is_globe else self.labels.shape[0] / self.labels.shape[1]
        shape = min(max(shape, 0.3), 2.0)
        if shape > 1.2:
            return Panels(1, 2, (10.0, 1.2 + 4.0 * shape), stand_alone=True)
        return Panels(2, 1, (7.5, 1.4 + 2 * 5.6 * shape), stand_alone=True)

    @property
    def _is_globe(self) -> bool:
        return all("degree" in one.name for one in (self.x, self.y))

    @property
    def notes(self) -> str:
        """What of the grid is shown, and which components have a colour."""
        shown, n = len(self.components), self.mixture.n_components
        said = f" The {shown} largest of {n} components have colours." if shown < n else ""
        return (self.where + said).strip()

    @property
    def alt(self) -> str:
        """Shares of the classes, and how sure they are."""
        of = ", ".join(f"{name}: {share(value)}" for name, value in self.shares.items())
        there = np.isfinite(self.certainty)
        sure = probability(float(np.mean(self.certainty[there]))) if there.any() else "unknown"
        return f"{self.title}. {self.notes} Cells of each: {of}. Mean probability: {sure}."

    def _draw(self) -> None:
        above, below = self.axes_.ravel()
        self._draw_labels(above)
        drawn = below.pcolormesh(
            *(self.x.values, self.y.values, np.ma.masked_invalid(self.certainty)),
            cmap=matplotlib_module().colormaps["cividis"].resampled(_SHADES),
            vmin=1.0 / len(self.mixture.classes),
            vmax=1.0,
            shading="nearest",
            rasterized=True,
        )
        colour_bar(below, drawn, "probability")
        for ax in (above, below):
            ax.set(facecolor=_GAP, xlabel=self.x.name, ylabel=self.y.name)
            ax.xaxis.label.set_size("small")
            ax.yaxis.label.set_size("small")
            ax.tick_params(labelsize="small")
            if self._is_globe:
                ax.set_aspect("equal")

    def _draw_labels(self, ax: Axes) -> None:
        names = list(self.shares)
        colours = [*COLOURS[: len(self.components)]]
        colours += [{"noise": _OF_NOISE, "others": OTHERS}[name] for name in names[len(colours) :]]
        if has_gaps := bool((self.labels == _NO_LABEL).any()):
            colours.append(_GAP)
        place = np.full(self.labels.shape, names.index("others") if "others" in names else 0)
        for rank, k in enumerate(self.components):
            place[self.labels == k] = rank
        if "noise" in names:
            place[self.labels == NOISE] = names.index("noise")
        if has_gaps:
            place[self.labels == _NO_LABEL] = len(names)
        colour_map = matplotlib_module(".colors").ListedColormap(colours)
        drawn = ax.pcolormesh(
            *(self.x.values, self.y.values),
            place,
            cmap=colour_map,
            vmin=-0.5,
            vmax=len(colours) - 0.5,
            shading="nearest",
            rasterized=True,
        )
        bar = colour_bar(ax, drawn, "component (share of cells)")
        bar.set_ticks(
            range(len(colours)),
            labels=[f"{name} ({share(value)})" for name, value in self.shares.items()]
            + [_NO_DATA] * has_gaps,
        )
        bar.ax.tick_params(length=0)


_FLOAT64 = np.dtype(np.float64)
_FOUND = Returned("found", _FLOAT64, np.nan, dims=("found",), along=("label", "probability"))


def _label_and_probability(block: Block, mixture: Mixture) -> Float64Array:
    """Both of each row side by side, (n_rows, 2), so that cells are read and evaluated once."""
    return np.hstack(top_components(block, mixture, 1))


def _of_cells(model: FittedMixture, X: Any, index: Mapping[Hashable, Any]) -> Any:
    """Labels and probabilities of the chosen cells, as an xarray.DataArray in memory."""
    if isinstance(X, Grid):
        return model._of_rows(X, _label_and_probability, _FLOAT64, _FOUND).isel(index).compute()
    return model._of_rows(X.isel(index), _label_and_probability, _FLOAT64, _FOUND).compute()


def _sizes(X: Any, dims: tuple[Hashable, ...]) -> dict[Hashable, int]:
    data = X.data if isinstance(X, Grid) else X
    return {dim: int(data.sizes[dim]) for dim in dims}


def _place(X: Any, dim: Hashable, place: int | float | str, size: int) -> int:
    data = X.data if isinstance(X, Grid) else X
    if isinstance(place, str):
        return _place_of_date(data, dim, place)
    values: Any = data.coords[dim].to_numpy() if dim in data.coords else np.empty(0, "U")
    if isinstance(place, float):
        return _place_of_value(values, dim, place)
    if not -size <= place < size:
        said = f"; for a value of its coordinate write a decimal point, as {dim}={float(place)}"
        raise ParameterError(
            f"there is no place {place} along {dim!r}; there are {size}, from 0 to {size - 1}"
            + (said if values.dtype.kind in "iuf" else ""),
            "at",
        )
    return place % size


def _place_of_value(values: Any, dim: Hashable, value: float) -> int:
    """The place where a coordinate has this value, in the precision of the coordinate."""
    if values.dtype.kind not in "iuf" or values.size == 0:
        raise ParameterError(
            f"{dim!r} has no coordinate of numbers in which to look for {value:g}; give the number of the "
            f"place, as {dim}=0",
            "at",
        )
    asked = values.dtype.type(value) if values.dtype.kind == "f" else value
    place = int(np.nanargmin(np.abs(values - value)))
    if values[place] != asked:
        nearest = str(values[place])
        raise ParameterError(
            f"there is no {value:g} along {dim!r}; the nearest is {dim}="
            f"{nearest + '.0' * nearest.lstrip('-').isdigit()}, at place {place}",
            "at",
        )
    return place


def _place_of_date(data: Any, dim: Hashable, date: str) -> int:
    """The first place along a dimension of times that is of a date, or of a part of one."""
    times: Any = data.coords[dim].to_numpy() if dim in data.coords else np.empty(0)
    if times.dtype.kind not in "MO" or times.size == 0:
        raise ParameterError(
            f"{dim!r} has no coordinate of times, along which {date!r} could be a date; give the number "
            f"of the place, as {dim}=0",
            "at",
        )
    # Calendars of climate models come as objects, whose texts are dates as well.
    texts = np.datetime_as_string(times) if times.dtype.kind == "M" else times.astype(str)
    asked, found = date.replace(" ", "T"), [str(text).replace(" ", "T") for text in texts]
    place = next((i for i, text in enumerate(found) if text.startswith(asked)), None)
    if place is None:
        raise ParameterError(
            f"there is no {date} along {dim!r}, which goes from {found[0][:19]} to {found[-1][:19]}; give a "
            f"date or a time of it, as {dim}={found[0][:10]}",
            "at",
        )
    return place


def _said_of_place(labels: Any, dim: Hashable, place: int, size: int) -> str:
    value = labels.coords[dim].to_numpy() if dim in labels.coords else np.array(place)
    if value.dtype.kind == "M":
        text = str(np.datetime_as_string(value, unit="auto"))
    else:
        text = f"{value.item():g}" if value.dtype.kind in "iuf" else str(value.item())
    return f"{dim} = {text}, place {place} of 0 to {size - 1}."


def _oriented(dims: tuple[Hashable, ...]) -> tuple[Hashable, Hashable]:
    """The dimensions along y and x: the last one along x, unless it is one of latitudes."""
    y, x = dims
    return (x, y) if str(x).lower() in _LATITUDES else (y, x)


def _extent(values: NDArray[Any]) -> float:
    return max(float(abs(values[-1] - values[0])), 1e-300)
