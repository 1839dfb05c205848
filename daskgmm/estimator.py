"""GaussianMixture: the scikit-learn face of daskgmm.

The file is longer than others because numpydoc asks for some lines on each parameter. Their signature,
and what they mean for a fit, is in :mod:`daskgmm.fitting`, and what can be asked of a fitted mixture
in :mod:`daskgmm.fitted`; here, state is kept between the two.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from daskgmm.checkpoints import Job, open_checkpoints
from daskgmm.em import (
    Course,
    FarValues,
    Fit,
    FitBegan,
    FitEnded,
    Gaps,
    Previous,
    Problem,
    Tell,
    blurred_by_ridge,
    fit,
    joined_far_values,
    said_of_collapses,
    said_of_contradicted,
    said_of_far_values,
    said_of_gaps,
    said_of_thin,
    said_of_wide,
    thin_components,
)
from daskgmm.errors import DataError, ParameterError
from daskgmm.events import Message, ProgressLines, teller
from daskgmm.execution import MixtureSize, Work
from daskgmm.fitted import FittedMixture, said_of_dropped
from daskgmm.fitting import (
    FitOptions,
    Kept,
    Outcome,
    Uncertainty,
    at_once,
    check_measurement_noise,
    check_numbered,
    check_previous,
    check_replicable,
    check_start,
    in_order,
    kind_asked,
    parts_of,
    problem_of,
    remembered,
    uncertainty_of,
    updated,
    warn_of_collapses,
    warn_of_contradicted,
    warn_of_end,
    warn_of_scales,
    warn_of_thin,
)
from daskgmm.kernel import Affine, loops
from daskgmm.keywords import suggesting
from daskgmm.settings import HALF_LIFE, N_REPLICATES, check_options, objective_of
from daskgmm.tables import (
    Labels,
    MeasurementNoise,
    OpenedRows,
    Stage,
    Use,
    Weights,
    columns_named,
    is_scale_of_counts,
    open_input,
    open_labels,
    open_measurement_noise,
    open_weights,
    without_weights,
)

__all__ = ["GaussianMixture", "load_model"]

_COUNTED = ("n_missing_", "n_left_out_", "n_rows_", "rows_read_")
"""Attributes that an update adds to."""


class GaussianMixture(FittedMixture, FitOptions):
    """Gaussian mixture fitted by EM on data of any size.

    Parameters and fitted attributes are those of
    :class:`sklearn.mixture.GaussianMixture` and mean the same; what is added, or
    differs, is said below.

    Parameters
    ----------
    n_components : int, default=1
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
    tol : float or "auto", default="auto"
        What ``stopping`` compares with; in nats per row for ``"gap"`` and
        ``"increment"``. ``"auto"`` is a tenth of p / (2 N), p being the free parameters:
        what is gained below says nothing of where the rows come from; 1e-3 at most.
    reg_covar : float or "auto", default="auto"
        Added to each variance, in squared units of the data. ``"auto"``: a millionth of each
        feature's variance over all rows (of their mean for spherical covariances), so that
        nothing depends on units. Where a few values lie far from all others, this variance counts for
        at most a hundred times that of the shortest half of the values, so that they do not blur
        the others. An update goes on to add what the fit added.
    prior : "auto", mapping or None, default=None
        Conjugate prior of Fraley and Raftery (2007), with which the fit is the maximum a posteriori:
        the safe choice for many components, which it keeps from closing in on a few rows. A mapping
        has some of these, and ``"auto"`` none. ``shrinkage`` (0.01): rows at the prior's mean that
        each component is given. ``scale``: scatter that each covariance is given, a number, D
        numbers or a matrix; by default the covariance of all rows over ``K ** (2 / D)``. Variances
        take its diagonal, and spherical ones the mean of that. ``dof`` (D + 2): degrees of freedom
        of the inverse Wishart or gamma prior of covariances. ``mean``: by default that of all rows.
        ``concentration`` (1, which says nothing): of the Dirichlet prior of the weights. The prior
        counts as so many rows, whatever the weights of rows are. ``reg_covar="auto"`` adds nothing
        beside it. What a fit climbs, and what starts are compared by, is the log-likelihood less
        ``penalty_``; criteria are of the log-likelihood.
    max_iter : int, default=100
        Most iterations, each one pass over all rows; 0 leaves the start as it is made.
    reads : int, optional
        Most reads of all rows, for rows that are dear to read. With 1, starts compete on pieces
        of the rows, and one step is made with the gradient of all of them. The step after the
        last read is the result, and ``history_[-1].remaining_gain`` estimates what was left to
        gain at the last read, or after that step if no read had to confirm it.
    n_init : int, default=1
        Starts to fit from, all on the same passes; the result of the highest
        log-likelihood is kept. With ``progressive`` up to ten, or ``n_init`` if that is more,
        compete on the sample, fewer where they agree; ``n_init`` is how many may go on to all
        rows, if it cannot tell.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        Works on a uniform sample of about 100,000 rows (fewer where D or K is large), in
        which features are brought to one scale (except for spherical covariances).
        ``"k-means++"`` and ``"random_from_data"`` assign each sampled row to its nearest
        seed. Where starts compete (see ``n_init``), every second of them is
        ``"random_from_data"`` whatever is said here: k-means sees no small component within
        a wide one.
    weights_init : array of shape (K,), optional
    means_init : array of shape (K, D), optional
        Given means also decide which sampled rows start a component's weight and
        covariance.
    precisions_init : array, optional
        Inverse covariances, of the shape that belongs to ``covariance_type``.
    random_state : int, RandomState or None, default=None
    warm_start : bool, default=False
        Whether to start from the last fit's parameters. On the same rows it goes on with all
        that was learned: fits of one pass each end where one of many does.
    order : {"weight", "first-feature", "previous"}, optional
        Order of the components, in everything that is indexed by them. ``"weight"``: the heaviest
        first; ``"first-feature"``: by the first feature's mean; ``"previous"``: each at the place
        of the component that it is like in the last fit of this estimator, whatever
        ``warm_start``, or else in the start that is given, ``means_init`` at least. By default
        the order is the one that the start had.
    verbose : int, default=0
        Above 0, a line for each ``verbose_interval``-th pass on standard error.
    verbose_interval : int, default=1
    stopping : {"gap", "increment", "means"}, default="gap"
        ``"gap"``: the estimated remaining gain per row is below ``tol``;
        ``"increment"``: the last gain per row is (scikit-learn's rule); ``"means"``:
        the squared movement of the means is at most ``tol``.
    stepper : {"auto", "surrogate", "squarem", "plain"}, default="auto"
        How the next parameters follow from a pass. ``"surrogate"``: the maximum of the
        sample's likelihood, corrected by the gradient over all rows; few passes, whatever
        the rows. ``"squarem"``: EM extrapolated every second pass. ``"plain"``: EM. All
        others go back to a step of EM where the log-likelihood fell. ``"auto"``:
        plain where the start is given whole or ``progressive`` is off, else surrogate.
    progressive : bool, default=True
        Whether starts compete, and the best is fitted, on a sample in memory before
        the first pass over all rows. The best exchanges components there, two that hardly
        differ for one that is two, where that is expected to gain; of ten components and more
        also where it may, unless several starts found the same. A start that is given whole is
        used as it is.
    precision : {"auto", "float32", "float64"}, default="auto"
        Precision of the arithmetic on single rows; sums over rows are float64 in any case.
        ``"auto"`` works in float32 on rows stored in it, in half the time; statistics are
        then good to 1e-5, relative, and a mixture that would lose more is worked on in
        float64, as are the last passes where ``tol`` is below 1e-7. Where no compiled
        loops are, all is float64.
    truncate : int, optional
        Compare each row with so many components near it alone; for 200 components and more,
        with ``stepper="plain"``, which ``"auto"`` then is. A pass then costs about as much
        as one of so many components, and its log-likelihood is a lower bound, which EM
        climbs: so are ``lower_bound_`` and the history. It may fall where neighbourhoods
        are chosen anew, before passes 2, 3, 5, 9 and so on. Where components overlap more
        than ``truncate`` of them at a place, the bound is loose; :meth:`score` is exact, and
        tells. Starts are fitted to the sample without.
    standardize : bool or "robust", default=False
        Fit features that are brought to one scale: by mean and standard deviation of all rows, or
        with ``"robust"`` by median and interquartile range / 1.349 of the scan's sample (of n
        rows, to about 1.3 and 1.2 / sqrt(n) standard deviations of Gaussian ones). ``reg_covar``
        is in the scaled units then, and so are the variances that ``"spherical"`` has equal, and
        movements of means. All results are in the data's own units, log-likelihoods as well, so
        that they compare with other fits; covariances of what was spherical are ``"diag"`` in
        these, and criteria count the parameters of the fit. It takes no further read; only a start before the
        first one cannot be, where units matter for more than ``reg_covar``.
    n_projected : int or float, optional
        Fit features that are projected on their principal axes, after ``standardize``: on so many,
        or on the fewest that explain at least this share of their variance, above 0 and up to 1.
        They are found by the first read of the rows as they are, whose scatter they diagonalise.
        Densities, log-likelihoods and covariances are those of the projected features.
    on_collapse : {"reseed", "prune", "error"}, default="reseed"
        What is done about components that collapse: whose covariance stops being positive definite,
        or that at the end of the fit hold fewer rows than make it so, or next to no rows with a
        variance that is little more than what ``reg_covar`` adds. ``"reseed"``: a group of the
        worst-fitting rows of the sample gets a component in their place, or the component that
        gains most by it is divided; where neither is possible, and after the third time, they
        are pruned. ``"prune"``: the mixture has as many components less. ``"error"``: an error
        names them. The log-likelihood can be lower after a collapse, and climbs from there.
        Components of few rows stay, with a warning, where the fit has no pass left, or where their
        rows are far from all other components.
    constant : {"error", "drop"}, default="error"
        What constant columns are. A Gaussian has no density along one, so that ``"error"`` names
        them before anything is fitted. ``"drop"``: they are left out of the fit, and of all that
        the model says of rows, whatever finite numbers they hold there. As with ``n_projected``, densities and
        covariances are then those of the other columns; ``means_`` has all of them. It goes with
        ``n_projected``, and not with a ``standardize`` that maps rows.
    missing : {"error", "drop", "em"}, default="error"
        What NaN is in rows to fit, and in those that the model is asked of later; null in Parquet,
        and what a store declares missing (``_FillValue`` and its like), is NaN. ``"error"`` names
        the first place. ``"drop"``: rows with a gap are left out: they count for nothing, and come
        back with the label -2, and NaN for probabilities and densities. ``"em"``: rows count by the
        values that they have. Their density is that of these, and EM takes the others for what
        each component expects given them, with its uncertainty (Ghahramani and Jordan 1994), which
        is right where values are missing at random; only rows that have none are left out. Cells of
        grids with gaps are left out unless it is ``"em"``.
    noise : bool or float, optional
        Beside the components, noise of a constant density, for rows that belong to none of them:
        over the box of all rows (of the sample, after ``n_projected``), or over a region of this
        volume, in the product of the features' units. Rows that are most probably noise are
        labelled -1, and the last column of ``predict_proba`` is theirs. Starts are made after the
        first read alone, whose box it is.
    tails : {"t"}, optional
        Multivariate t components in place of Gaussians: rows far from one count less for its
        location and scale. ``covariances_`` are scale matrices then, which a covariance is
        ``nu / (nu - 2)`` times, nu the degrees of freedom.
    degrees_of_freedom : "shared", "each" or float, default="shared"
        With ``tails``: one number for all components, one for each, both estimated, or the number
        that all have.
    fixed : mapping or None, default=None
        Parts that stay as they are in the start: ``"weights"``, ``"means"`` and ``"covariances"``,
        each with ``"all"`` or the numbers of some components, such as
        ``{"means": [0, 2], "weights": "all"}``. The start has to give them, by ``weights_init``,
        ``means_init`` and ``precisions_init``, in which components that are not named may be NaN:
        they are found. Or it is the last fit, with ``warm_start``; and :meth:`update` leaves the
        parts as the model has them. Free weights share what fixed ones leave of 1, and criteria
        count what is free. Components keep their numbers: one that collapses is an error whatever
        ``on_collapse`` is, and those of few rows stay, with a warning.
    memory_limit : int or str, optional
        Bytes that a process may use in all while it reads stored rows, such as
        ``"2GiB"``; half of what is free by default. Decides how they are cut, never the
        result. Data in memory and Dask arrays keep the size that they have.
    stage : {"auto"}, path or None, default=None
        Where the first pass keeps decoded rows, so that later ones need not read and
        decode stored ones again. A path: a folder on a local disk (of each worker).
        ``"auto"``: memory that the plan leaves of ``memory_limit``, then the temporary
        folder; nothing for data in memory and Dask arrays. A ``.npy`` file is never
        copied to a disk. What is on the disk is without a name and gone when the fit
        ends or its process does; a piece that cannot be read back is read from the
        store again. The result does not depend on any of this.
    stage_limit : int or str, optional
        Bytes that a process may write to the disk; by default until half of what was
        free is. One GiB is always left.
    stage_dtype : {"float32"}, optional
        Round rows to it, in every pass: half the bytes, and faster arithmetic, on
        rows whose first digits matter. This changes the result.

    checkpoint : path or None, default=None
        Folder or URL where the fit keeps, after each pass over stored rows, what it needs to
        go on should it be interrupted. It stays there.
    checkpoint_every : int, default=1
        Passes from one checkpoint to the next; there is one after the last pass, too.
    resume : bool, default=False
        Whether a fit that was interrupted goes on from ``checkpoint``, to the same bits; a
        fit that came to its end is read from it, and one that never began begins. Without
        it an interrupted fit there is an error.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, D)
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Full (K, D, D), tied (D, D), diag (K, D), spherical (K,). With ``n_projected`` they are of
        the d projected features.
    projection_shift_, projection_scale_, projection_matrix_ : ndarray of shape (D,), (D,), (D, d)
        With ``n_projected``: rows x are projected to ``(x - shift) @ matrix``, and rows z back to
        ``z @ matrix.T * scale ** 2 + shift``.
    projected_means_ : ndarray of shape (K, d)
        With ``n_projected``: means of projected features, which decide what the model says;
        ``means_`` are these in the data's own units.
    degrees_of_freedom_ : ndarray of shape (K,)
        With ``tails``; from 0.1 to a million, at which components are Gaussian.
    noise_weight_, noise_log_density_ : float
        With ``noise``: its weight, which ``weights_`` leave of 1, and ``-log(volume)``.
    noise_box_ : ndarray of shape (2, D)
        With ``noise``: minimum and maximum of each feature, between which :meth:`sample` draws it.
    converged_ : bool
        Whether the stop rule held within ``max_iter`` and ``reads``.
    n_iter_ : int
        Iterations of the best start.
    tol_ : float
        What ``tol`` came to.
    remaining_gain_ : float
        Estimate of what more iterations would gain per row, in nats.
    lower_bound_ : float
        Log-likelihood per row, less ``penalty_``, at the last accepted pass of the best start, which the
        parameters are a step beyond.
    penalty_ : float
        What ``prior`` takes off it, in nats per row: how far its log density is below that of its
        mode; 0 without one.
    lower_bounds_ : list of float
        The same at each pass, of what was accepted by then.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (D,)
        Where the data named their columns: tables whose names are strings, and coordinates of
        xarray. Rows of other names, or of the same in another order, are refused from then on.
    stop_reason_ : str
        The stop rule that held, or ``"max_iter"``, or ``"reads"``.
    n_passes_ : int
        Reads of all rows, by whatever part of the fit.
    n_missing_, n_left_out_ : int
        Rows of the data with a gap, as far as they were read; those of them that count for nothing.
    n_rows_, rows_read_ : int
        Rows of the data, without those with gaps where these are left out; rows read over all
        passes, staged or not, with gaps or not.
    staged_bytes_memory_, staged_bytes_disk_ : int
        Bytes of rows that were staged, over all processes.
    history_ : tuple of Iteration
        Value for the best start.
    thin_components_ : tuple of ThinComponent
        Components that hold next to no rows: ``component`` (index), ``n_rows`` (sum of
        responsibilities), ``at_floor`` (whether its least variance is about what ``reg_covar``
        adds). A warning tells how many there are.
    far_values_ : tuple of FarValues
        Values that are so far from all others of their feature that they are hardly measured ones,
        such as a fill value that nobody declared: ``feature`` (index), ``value``, ``n_rows``,
        ``times`` (how many times as far from the median as all others), ``is_repeated`` and
        ``is_exact`` (whether the rows were counted, or estimated from a sample).
    rare_components_ : tuple of RareComponent
        Those that the sample had missed, found among the worst-fitting rows: ``n_rows`` of each.
    collapses_ : tuple of Collapse
        What became of components that collapsed: ``n_iter`` (iterations before), ``n_collapsed``,
        ``n_reseeded`` and ``n_pruned``. Pruned ones are missing from ``weights_`` and ``means_``.
    contradicted_labels_ : tuple of ContradictedLabels
        With ``labels``: components of which more than half of the labelled rows are more likely
        under others, of which a warning tells: ``component``, ``n_labelled``, ``n_elsewhere``, and
        ``n_noise`` of these.
    seconds_ : float
        Wall time of the fit.
    peak_memory_bytes_ : int
        Most memory that this process has used by the end of the fit.
    made_with_ : dict
        ``versions`` of packages, the ``loops`` and ``processor``, ``n_workers`` (0 for threads of
        this process) and ``n_threads`` of the fit.
    updates_ : tuple of Update
        What each :meth:`update` since the fit found: ``n_rows``, the log-likelihood per new row
        before and after, how far weights and means moved. The newest 100 are kept. What is said
        above of a fit is of the last update, but for ``n_rows_`` and ``rows_read_``, which are of
        all rows.

    Examples
    --------
    >>> import dask.array as da
    >>> from daskgmm import GaussianMixture
    >>> x = da.random.default_rng(0).normal(size=(10_000, 2), chunks=(2_500, 2))
    >>> x = da.concatenate([x, x + 10])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(x)
    >>> sorted(abs(gm.means_.round(0)).tolist())
    [[0.0, 0.0], [10.0, 10.0]]
    """

    # -- fitting ---------------------------------------------------------------

    @suggesting()
    def fit(
        self,
        X: Any,
        y: None = None,
        sample_weight: Any = None,
        labels: Any = None,
        measurement_noise: Any = None,
    ) -> Self:
        """Estimate the parameters by EM.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            NumPy array, Dask array, zarr.Array, the result of :func:`daskgmm.open_rows`, a path or
            URL of a Zarr array or a ``.npy`` file. A table, whose columns are the features: pandas,
            polars or Dask DataFrame, pyarrow Table or RecordBatch, or anything that exports Arrow's
            stream. Columns are numbers of any type, booleans or decimals; missing values are NaN,
            which is refused. A table in memory is copied once, where it cannot be viewed. Or an
            xarray.Dataset, whose data variables are the features, or xarray.DataArray, whose last
            dimension holds the features. Each cell of the other dimensions is a row; cells with NaN
            are left out, unless ``missing`` is ``"em"``.
        y : ignored
        sample_weight : array of shape (n_rows,), optional
            How often each row counts: a weight of 2 is the row given twice, 0 is a row that is
            absent, whatever it holds, and any number of 0 or more between. An array, a Dask
            array, a Zarr array, or a path or URL of one, aligned with the rows; or the name of a
            column of `X`, or of a variable, which then is no feature. A Series has the index of
            the DataFrame, in the same order, or is refused. The fit does not depend on the unit of
            weights that are no counts: see :meth:`bic` for what does.
        labels : array of shape (n_rows,), optional
            Component that each row is known to be of, from 0 to K - 1, or -1 where it is not known.
            An array, a Dask array, a Zarr array, or a path or URL of one; not for cells of a grid. A few rows, whose indices are
            kept in memory. Their term of the log-likelihood is ``log(w_k f_k(x))``, here and in
            ``lower_bound_``; :meth:`score` and criteria know no labels. Starts have the means of
            labelled rows for their components, which keep their numbers as with ``fixed``.
        measurement_noise : array of shape (n_rows, D) or (n_rows, D, D), optional
            Variance (not standard deviation) of the Gaussian noise with which each value was
            measured, in squared units of the data; or the covariance of the noise of each row, which
            takes longer. Any kind of array that the rows can be, or a path or URL of one, where
            covariances are of shape (n_rows, D * D); not for cells of a grid. The fit is then of the
            values behind the measured ones, by exact EM (extreme deconvolution: Bovy, Hogg and Roweis
            2011), and a row of more noise tells less: ``lower_bound_`` and all densities are of
            measured rows,
            ``N(x | mean_k, covariance_k + noise)``. ``reg_covar="auto"``, ``prior`` and
            ``standardize=True`` follow one Gaussian that is fitted to the values behind a sample,
            and starts are made of what it expects of these. Where ``missing`` is not
            ``"error"``, infinite noise says that a value is missing. A pass takes tens of
            times as long as one without noise, and hundreds for full covariances of many features. A
            model that was fitted so has no :meth:`update`.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the data, the weights or the labels cannot be used; nothing is fitted then.
        ParameterError
            If parameters contradict each other, or ``order`` or ``on_collapse="prune"`` would
            give components other numbers than their labels.
        MemoryLimitError
            If the data cannot be processed within ``memory_limit``.
        CheckpointError
            If ``checkpoint`` holds an interrupted fit, without ``resume``; or one of other
            data or parameters.
        JobRunningError
            If another process keeps its checkpoints there.
        InterruptedFitError
            A KeyboardInterrupt, where ``checkpoint`` holds what the fit can go on from.
        SingularComponentError
            If components collapse and ``on_collapse`` is ``"error"``, or if not even one component
            of all rows has a density.

        Warns
        -----
        DaskGMMWarning
            If components were pruned. If ``reg_covar="auto"`` makes up a tenth or more of the least
            variance of a component: names it, and a number that does not. If a given ``reg_covar`` is more than 1% of a column's variance: names the columns. If
            components hold next to no rows (see ``thin_components_``), or labelled rows are more
            likely under others than their own (see ``contradicted_labels_``), or if the data have few
            rows for the number of parameters.
        ConvergenceWarning
            If no start converged within ``max_iter``.
        """
        self._check_parameters()
        tell = self._teller()
        if loops.VARIANT is None:
            tell(Message(f"NumPy does the work, there are no compiled loops: {loops.WHY_NONE}"))
        began = time.perf_counter()
        X, weights = self._open_counts(sample_weight, X)
        if labels is not None:
            check_numbered(self)
            labels = open_labels(labels, X, self.n_components)
        noise = self._open_noise(measurement_noise, X)
        # Starts, and one that a rare component may be given to.
        use = Use(measurement_noise=noise)
        opened = self._open_to_fit(X, [self._size] * (self.n_init + 1), weights, use)
        if labels is not None:
            labels.check_length(opened.rows.n_rows, opened.name)
            opened = opened.knowing(labels.known)
        rows = opened.rows
        problem = self._problem(rows.n_features)
        problem = replace(problem, has_labels=labels is not None, is_noisy=noise is not None)
        is_plain = labels is None and noise is None
        if is_plain:  # as the fit before was
            past, ended = self._past_of(rows.n_rows), self._last_ended()
            problem = replace(problem, past=past, ended=ended)
        self._check_rows(opened, problem)
        rng = check_random_state(self.random_state)
        tol = problem.tol_on(rows)
        with open_checkpoints(self._job(opened, weights, labels, noise)) as checkpoints:
            tell(self._fit_began(opened, tol))
            naming = columns_named(opened.feature_names)
            with naming, opened.staging() as staged, checkpoints.interruptible():
                found = fit(rows, problem, rng, opened.n_sampled, tell, checkpoints)
        self._set_weighting(weights)
        outcome = Outcome(
            self._in_order(found.result, found.affine),
            affine=found.affine,
            n_passes=found.n_passes,
            opened=opened.weighing(found.moments.weight),
            seconds=checkpoints.seconds_before + time.perf_counter() - began,
            staged=staged,
            gaps=found.gaps,
            contradicted=found.contradicted,
            far=found.far,
            is_noisy=noise is not None,
            prior=found.prior,
        )
        self._conclude(outcome)
        if is_plain:
            self._ended = found
        else:
            self._past = ()  # of another likelihood than that of rows without labels or noise
        tell(self._fit_ended())
        return self

    @suggesting()
    def update(
        self, X: Any, y: None = None, sample_weight: Any = None, half_life: float | None = None
    ) -> Self:
        """Go on with new rows, without the old ones, of which the model keeps statistics.

        The components keep their order. Passes read the new rows alone, and climb the
        log-likelihood of old and new rows together, that of the old ones being estimated from
        their statistics and from rows drawn from the model. In ten updates of a tenth of the rows
        each, log-likelihood per row comes as near that of a fit of all rows as these can tell,
        ``p / (2 N)``, if they are all alike.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            The new rows alone, as for :meth:`fit`; one or more, with the features of the fit.
        y : ignored
        sample_weight : array of shape (n_rows,), optional
            How often each new row counts, in the unit of the weights of the fit; beside rows that
            had none, a weight of 0.5 is half a row.
        half_life : float, optional
            Number of new rows (or their weight) after which an old row counts half as much:
            before n new rows are added, the old ones are scaled by ``2 ** (-n / half_life)``. By
            default nothing is forgotten.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            If there is no fit to go on from.
        ParameterError
            If the model keeps no statistics of its rows, or ``half_life`` is not above 0; or if the
            weights of the fit were no counts, such as areas, and the new rows have none.
        DataError, MemoryLimitError, SingularComponentError
            As :meth:`fit`, and if the rows have other features than the fit; the model is as it
            was then.

        Warns
        -----
        ConvergenceWarning
            If the stop rule did not hold within ``max_iter``.
        DaskGMMWarning
            If the rows of the fit had weights, and these have none.
        """
        HALF_LIFE.check(half_life)
        check_options(self.get_params(deep=False))
        mixture, statistics, projection = self._mixture, self._statistics(), self._projection
        unit, ridge = self._unit_of_weights, self._ridge
        kept = Kept.checked(self, mixture, statistics, projection, unit, ridge)
        X, read_as, units = self._as_fitted(X), self._read_as, self._units
        tell, began = self._teller(), time.perf_counter()
        names = getattr(self, "feature_names_in_", None)
        if sample_weight is None and not is_scale_of_counts(unit):
            raise ParameterError(
                f"the rows of the fit had weights in a unit of which {1.0 / unit:.3g} make a row, and "
                "without weights each new row would count as one unit; give sample_weight (--weights) "
                "in the same unit",
                "sample_weight",
            )
        # As they are: a fit of all would scale them as it scaled the old ones.
        X, weights = self._open_weights(sample_weight, X)
        use = Use(alone=False, names=None if names is None else tuple(names))
        opened = self._open_to_fit(X, [MixtureSize.of(mixture)] * 2, weights, use)
        self._check_features(opened)
        outcome, report = updated(kept, opened, self, half_life, tell, began)
        updates = remembered(getattr(self, "updates_", None), report)
        before = {name: getattr(self, name, None) or 0 for name in _COUNTED}
        far_before = getattr(self, "far_values_", None) or ()
        self._conclude(outcome)
        self._is_weighted |= weights is not None
        self.far_values_ = joined_far_values(far_before, outcome.far)
        self._set_names(names)
        self._read_as, self._units = read_as, units
        self._past, self.updates_ = (), updates
        for name, n in before.items():
            self.__dict__[name] += n
        return self

    def fit_predict(
        self, X: Any, y: None = None, sample_weight: Any = None, measurement_noise: Any = None
    ) -> Any:
        """Fit, then label the same rows; see :meth:`fit` and :meth:`predict`.

        Parameters
        ----------
        X, y, sample_weight, measurement_noise
            As for :meth:`fit`.

        Returns
        -------
        array, Series or DataArray of shape (n_rows,), int64
            As of :meth:`predict`.
        """
        X, sample_weight = without_weights(X, sample_weight)
        self.fit(X, sample_weight=sample_weight, measurement_noise=measurement_noise)
        return self.predict(X, measurement_noise=measurement_noise)

    def uncertainty(
        self,
        X: Any,
        *,
        n_replicates: int = 100,
        sample_weight: Any = None,
        random_state: Any = None,
    ) -> Uncertainty:
        """How sure the parameters are: standard errors and intervals by the Poisson bootstrap.

        The fit is made again `n_replicates` times on the rows drawn anew, from the model, by the
        same likelihood and prior, and each time to its end. Rows that memory has room for, some
        100,000, are read once. Of more, all replicates share the reads, of which three to five
        are usual; each takes about `n_replicates` times the arithmetic of one pass. Errors are
        right for whatever rows are drawn independently, be they of a mixture or not. They say
        nothing of other optima, nor of how many components there are.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            The rows of the fit, as for :meth:`fit`.
        n_replicates : int, default=100
            B. Standard errors are themselves good to ``1 / sqrt(2 B)``, relative.
        sample_weight : array of shape (n_rows,), optional
            As for :meth:`fit`. A row is drawn anew as it is: one of weight 2 is one observation
            that counts twice, not two, so that rows that were counted together have larger errors.
        random_state : int, RandomState or None
            What decides which rows are drawn, by their indices: the same for any chunks and workers.
            By default the estimator's own.

        Returns
        -------
        Uncertainty
            A mapping from ``"weights"``, ``"means"``, ``"covariances"``, ``"deviations"``,
            ``"log_likelihood_per_row"``, and what else the model has, to a :class:`Spread` with
            ``estimate``, ``standard_error``, ``low`` and ``high``, arrays of the parameter's shape.
            ``replicates`` has each of them, and ``to_frame()`` makes a table.

        Raises
        ------
        NotFittedError
            If there is no fit.
        ParameterError
            If there are fewer than two replicates, or the model does not keep the units that it was
            fitted in, or was fitted to rows with measurement noise.
        DataError, MemoryLimitError
            As :meth:`fit`, and if the rows have other features than the fit.
        SingularComponentError
            If next to no replicate has rows for all components.

        Warns
        -----
        DaskGMMWarning
            If the rows of the fit had weights, and these have none.

        References
        ----------
        Hanley and MacGibbon (2006), Creating non-parametric bootstrap samples using Poisson
        frequencies.

        Examples
        --------
        >>> import numpy as np
        >>> from daskgmm import GaussianMixture
        >>> x = np.random.default_rng(0).normal(size=(400, 1))
        >>> gm = GaussianMixture(random_state=0).fit(x)
        >>> error = gm.uncertainty(x)["means"].standard_error  # about 1 / sqrt(400)
        >>> bool(0.04 < error[0, 0] < 0.06)
        True
        """
        N_REPLICATES.check(n_replicates)
        check_options(self.get_params(deep=False))
        mixture, projection = self._mixture, self._projection
        if getattr(self, "_is_of_noisy_rows", False):
            raise ParameterError(
                "uncertainty fits rows that are drawn anew, and without the measurement noise that they "
                "had in the fit; fit without measurement_noise"
            )
        check_replicable(self, projection, self._fitted_as)
        X, names = self._as_fitted(X), getattr(self, "feature_names_in_", None)
        self._warn_if_forgotten(sample_weight)
        X, weights = self._open_counts(sample_weight, X, names)
        use = Use(alone=False, names=None if names is None else tuple(names))
        sizes = [MixtureSize.of(mixture)] * at_once(mixture, n_replicates)
        opened = self._open_to_fit(X, sizes, weights, use)
        self._check_features(opened)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        n_effective = None if weights is None else weights.n_effective
        asked = n_replicates, int(rng.randint(2**31 - 1)), n_effective
        return uncertainty_of(opened, mixture, projection, self, asked, self._teller())

    # -- what is asked of a fit ------------------------------------------------

    def _open_counts(
        self, given: Any, x: Any, names: Sequence[str] | None = None
    ) -> tuple[Any, Weights | None]:
        """Rows without the column that their weights are, if they are one; weights to fit with."""
        if given is None:
            return x, None
        x, weights = open_weights(given, x, names, self.missing)
        return x, weights.as_counts()

    def _set_weighting(self, weights: Weights | None) -> None:
        """Remember how rows were counted, for what goes on from the fit."""
        self._is_weighted = weights is not None
        self._unit_of_weights = 1.0 if weights is None else weights.scale

    def _open_noise(self, given: Any, x: Any) -> MeasurementNoise | None:
        """Measurement noise of the rows to fit, if they have any and options allow it."""
        if given is None:
            return None
        check_measurement_noise(self)
        return open_measurement_noise(given, x)

    def _check_parameters(self) -> None:
        """Raise an error for parameters that no fit can have."""
        check_options(self.get_params(deep=False))
        check_start(self, is_projected=self._projection is not None)
        self._problem()

    def _check_rows(self, opened: OpenedRows, problem: Problem) -> None:
        """Raise an error for rows that are too few, or have other features than is asked for."""
        n_rows, n_features = opened.rows.n_rows, opened.rows.n_features
        if n_rows < 2:
            raise DataError(
                f"{opened.name} has n_samples={n_rows} row; a mixture needs 2 rows or more"
            )
        problem.check_features(n_features)
        if self.order == "previous":
            check_previous(self._previous(), (self.n_components, n_features))

    def _problem(self, n_features: int | None = None) -> Problem:
        """What is to be fitted and how; raises as :func:`daskgmm.fitting.problem_of`."""
        goes_on = self.warm_start and hasattr(self, "weights_")
        return problem_of(self, n_features, self._mixture if goes_on else None)

    def _previous(self) -> Previous:
        """What ``order="previous"`` goes by."""
        if hasattr(self, "weights_"):
            is_projected = self.n_projected is not None or self._projection is not None
            return self.means_ if is_projected else self._mixture
        return None if self.means_init is None else np.asarray(self.means_init, np.float64)

    def _past_of(self, n_rows: int) -> tuple[float, ...]:
        """Objectives of the fit that a warm start of as many rows goes on from."""
        goes_on = self._climbs_on and self._n_rows_of_past == n_rows
        return self._past if goes_on else ()

    @property
    def _climbs_on(self) -> bool:
        """Whether a warm start climbs what the last fit climbed."""
        return self.warm_start and objective_of(self) == self._objective_of_past

    def _last_ended(self) -> Fit | None:
        """How the fit ended that a warm start goes on from, unless parameters were set since."""
        if not self._climbs_on or self._ended is None:
            return None
        kept = self._ended.result.kept
        is_same = self._is_still(kept if self._order is None else kept.take(self._order))
        return self._ended if is_same else None

    def _job(self, opened: OpenedRows, *beside: Weights | Labels | MeasurementNoise | None) -> Job:
        """What checkpoints are told of the fit."""
        known = [opened.fingerprint, *(one.fingerprint for one in beside if one is not None)]
        return Job(
            folder=self.checkpoint,
            resume=self.resume,
            every=self.checkpoint_every,
            is_warm=bool(self.warm_start),
            settings={} if self.checkpoint is None else self.get_params(),
            fingerprints=tuple(known),
            n_rows=opened.rows.n_rows,
            shape=(kind_asked(self), self.n_components, opened.rows.n_features),
        )

    def _open_to_fit(
        self,
        x: Any,
        mixtures: Sequence[MixtureSize],
        weights: Weights | None = None,
        use: Use = Use(),  # noqa: B008 (frozen)
    ) -> OpenedRows:
        """Rows to fit mixtures of these sizes to, all on the same passes."""
        return open_input(
            x,
            Work(tuple(mixtures), sampled=True),
            memory_limit=self.memory_limit,
            stage=Stage(self.stage, self.stage_limit, self.stage_dtype),
            weights=weights,
            use=replace(use, missing=self.missing),
        )

    @property
    def _size(self) -> MixtureSize:
        """What decides how much memory a fit takes."""
        return MixtureSize(kind_asked(self), self.n_components)

    def _teller(self) -> Tell:
        """Whom events of a fit are told."""
        return teller(*([ProgressLines(self.verbose_interval)] if self.verbose else []))

    def _fit_began(self, opened: OpenedRows, tol: float) -> FitBegan:
        return FitBegan(
            opened.name,
            opened.fingerprint is not None,
            opened.rows.n_rows,
            opened.rows.n_features,
            self.n_components,
            self.covariance_type,
            self.stopping,
            tol,
            self.max_iter,
        )

    def _fit_ended(self) -> FitEnded:
        return FitEnded(
            self.n_passes_,
            self.n_iter_,
            self.lower_bound_ + self.penalty_,
            self.stop_reason_,
            self.converged_,
            self.seconds_,
        )

    # -- what a fit comes to ---------------------------------------------------

    def _in_order(self, result: Course, affine: Affine | None) -> Course:
        """The result of a fit with its components in the order that is asked for."""
        ordered, self._order = in_order(result, affine, self.order, self._previous())
        return ordered

    def _conclude(self, outcome: Outcome) -> None:
        """Set the fitted attributes, for whoever fits mixtures in another way than :meth:`fit`.

        Warns
        -----
        ConvergenceWarning
            If the stop rule did not hold within ``max_iter`` or ``reads``.
        DaskGMMWarning
            If components hold next to no rows.
        """
        course, opened = outcome.course, outcome.opened
        accepted = [i.objective for i in course.history if i.accepted]
        self._past = (*self._past_of(opened.rows.n_rows), *accepted)[-2:]
        self._n_rows_of_past, self._objective_of_past = opened.rows.n_rows, objective_of(self)
        self._ended = None
        self._set_mixture(course.kept, outcome.statistics, outcome.projection)
        self._is_of_noisy_rows = outcome.is_noisy
        self._fitted_as = None if outcome.mapped_back is None else self.covariance_type
        self._fixed_parts = parts_of(self.fixed, course.kept.n_components)
        self.__dict__.pop("selection_", None)  # of an earlier fit
        self._set_names(opened.feature_names)
        self._read_as, self._units = opened.read_as, opened.feature_units
        facts = outcome.facts
        if course.history and not accepted:  # it has what the fit had that it went on from
            facts = {k: v for k, v in facts.items() if k not in ("lower_bound_", "penalty_")}
        self.__dict__.update(facts)
        prior = outcome.prior_in_units_of_data
        self.thin_components_ = thin = thin_components(course.kept, outcome.n_counted, prior)
        self._ridge = outcome.ridge if self.reg_covar == "auto" else None
        blur = blurred_by_ridge(course.kept, thin, prior, outcome.units_of(self))
        self._blurred = "" if blur is None else blur.text(self._names_of_mixture)
        self.far_values_ = outcome.far
        warn_of_collapses(course)
        warn_of_thin(thin, course.kept.n_components, self.missing)
        # A reg_covar that was chosen is told where it is large, and what made it so.
        is_large = self.reg_covar == "auto" and blur is not None and blur.hides_scatter
        far = [one for one in outcome.far if is_large or one.is_no_measurement]
        warn_of_scales(self._said_of_far(far), blur if is_large else None, self._names_of_mixture)
        warn_of_contradicted(outcome.contradicted)
        warn_of_end(course, self)

    @property
    def _note(self) -> str:
        """What a summary should say of the result; empty if nothing."""
        thin = getattr(self, "thin_components_", None) or ()
        n_left, collapses = self._mixture.n_components, getattr(self, "collapses_", None) or ()
        said = (
            self._said_of_gaps,
            said_of_dropped(self._projection, getattr(self, "feature_names_in_", None)),
            said_of_collapses(collapses, n_left),
            self._said_of_far(getattr(self, "far_values_", None) or ()),
            said_of_thin(thin, n_left),
            said_of_wide(self._mixture, self._names_of_mixture, self.missing),
            self._blurred,
            said_of_contradicted(getattr(self, "contradicted_labels_", None) or ()),
        )
        return "; ".join(one for one in said if one)

    def _said_of_far(self, far: Sequence[FarValues]) -> str:
        return said_of_far_values(far, getattr(self, "feature_names_in_", None))

    @property
    def _said_of_gaps(self) -> str:
        n_missing, n_left_out, n_rows = (getattr(self, name, None) or 0 for name in _COUNTED[:3])
        if (
            self.missing == "error" and not n_left_out
        ):  # cells of a grid may be left out all the same
            return ""
        gaps = Gaps(n_missing, n_left_out)
        return said_of_gaps(gaps, n_rows + n_left_out, self.missing)


def load_model(path: Any) -> GaussianMixture:
    """Read a model that :meth:`GaussianMixture.save` or the command line wrote.

    Parameters
    ----------
    path : str or Path
        Path or URL of the model's Zarr group.

    Returns
    -------
    GaussianMixture
        Fitted; ready to predict, score and sample.

    Raises
    ------
    NotFoundError, ModelFormatError
    """
    return GaussianMixture._loaded(path)
