"""Pictures of fitted mixtures, on Matplotlib's axes.

Each is a Display object, as scikit-learn has them: it is made from a fitted model, and from rows
where it shows rows; it is drawn on the axes that are given, or on new ones; ``ax_`` and ``figure_``
are what it was drawn on, and ``plot(ax=...)`` draws it again. Rows are read once, and counted in
bins, so that memory and pictures have a bounded size whatever the rows, components and features are.

>>> import numpy as np
>>> from daskgmm import GaussianMixture, plot
>>> x = np.random.default_rng(0).normal(size=(1000, 2))
>>> x[::2] += 6
>>> display = plot.pairs(GaussianMixture(2, random_state=0).fit(x), x)
>>> display.figure_.savefig("pairs.png")
"""

from collections.abc import Callable

from daskgmm.plot.drawing import Display, matplotlib_module, picture_of, svgs_of
from daskgmm.plot.heat_maps import ComponentsDisplay, ResponsibilitiesDisplay
from daskgmm.plot.histories import ConvergenceDisplay, SelectionDisplay
from daskgmm.plot.log_densities import LogDensityDisplay
from daskgmm.plot.maps import MapDisplay
from daskgmm.plot.pairs_of_features import EllipsesDisplay, PairsDisplay

__all__ = [
    "DISPLAYS",
    "ComponentsDisplay",
    "ConvergenceDisplay",
    "EllipsesDisplay",
    "LogDensityDisplay",
    "MapDisplay",
    "PairsDisplay",
    "ResponsibilitiesDisplay",
    "SelectionDisplay",
    "components",
    "convergence",
    "ellipses",
    "log_density",
    "map",
    "matplotlib_module",
    "pairs",
    "picture_of",
    "responsibilities",
    "selection",
    "svgs_of",
]

DISPLAYS: dict[str, Callable[..., Display]] = {
    "pairs": PairsDisplay.of,
    "ellipses": EllipsesDisplay.of,
    "convergence": ConvergenceDisplay.of,
    "selection": SelectionDisplay.of,
    "components": ComponentsDisplay.of,
    "responsibilities": ResponsibilitiesDisplay.of,
    "log_density": LogDensityDisplay.of,
    "map": MapDisplay.of,
}
"""What makes them, without drawing, by the names in :data:`daskgmm.settings.PICTURES`."""

components = ComponentsDisplay.from_estimator
convergence = ConvergenceDisplay.from_estimator
ellipses = EllipsesDisplay.from_estimator
log_density = LogDensityDisplay.from_estimator
map = MapDisplay.from_estimator
pairs = PairsDisplay.from_estimator
responsibilities = ResponsibilitiesDisplay.from_estimator
selection = SelectionDisplay.from_selection
