"""Pictures are drawn without a screen, and their figures are closed."""

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _figures_are_closed():
    mpl.use("agg")
    yield
    plt.close("all")
