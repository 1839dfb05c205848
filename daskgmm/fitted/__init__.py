"""A fitted mixture: what it is, what can be asked of it, and how it is kept.

It is the half of the estimator that needs no settings of a fit. :mod:`~daskgmm.fitted.state` has
the attributes; each other file has one subject as a class over that, whose methods are those of
:class:`FittedMixture`. To add methods on another subject, write such a file, and name its class
here.
"""

from daskgmm.fitted.conditioned import Conditioned
from daskgmm.fitted.exchange import Exchanged
from daskgmm.fitted.imputing import Imputing, check_imputes, seed_of_draws
from daskgmm.fitted.outliers import Outliers
from daskgmm.fitted.projection import said_of_dropped
from daskgmm.fitted.scores import Scores
from daskgmm.fitted.shown import Shown, html_table

__all__ = ["FittedMixture", "check_imputes", "html_table", "said_of_dropped", "seed_of_draws"]


class FittedMixture(Conditioned, Imputing, Outliers, Scores, Shown, Exchanged):
    """A mixture with fitted attributes; :class:`~daskgmm.GaussianMixture` adds the fit."""
