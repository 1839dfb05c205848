"""The fits that two checkouts are compared on."""

from __future__ import annotations

from .commands import CommandLine, Job, SelectedByCommand
from .kinds import Fitted, Resumed, Selected, WarmStarted, whole_start

__all__ = ["FITS"]

_FAMILIES = ("full", "tied", "diag", "spherical")


def _every_family() -> list[Fitted]:
    """All families, dtypes and containers."""
    return [
        Fitted(
            f"{family} {dtype} {container}",
            f"large-{dtype}",
            4,
            {"covariance_type": family},
            container,
        )
        for family in _FAMILIES
        for dtype in ("float64", "float32")
        for container in ("memory", "dask", "zarr")
    ]


def _every_start() -> list[Fitted]:
    """Starts that are given in part or whole, and ways to make one."""
    given = {
        "means": ("means_init",),
        "means and weights": ("weights_init", "means_init"),
        "precisions": ("precisions_init",),
    }
    data = "overlapping-float64"
    parts = [
        Fitted(f"start of {words}", data, 5, start=whole_start(data, 5, "full"), given=names)
        for words, names in given.items()
    ]
    whole = [
        Fitted(
            f"start whole, {family}",
            "apart-float64",
            4,
            {"covariance_type": family},
            start=whole_start("apart-float64", 4, family),
        )
        for family in _FAMILIES
    ]
    made = [
        Fitted(f"init {name}{words}", data, 5, {"init_params": name, **options})
        for name in ("kmeans", "k-means++", "random", "random_from_data")
        for words, options in {"": {}, ", not progressive": {"progressive": False}}.items()
    ]
    return parts + whole + made


_FLAT = "overlapping-float64"
_LONG = {"covariance_type": "full", "stepper": "plain", "tol": 1e-9, "max_iter": 40}

FITS = {
    fit.name: fit
    for fit in (
        *_every_family(),
        *(
            Fitted(f"stepper {name}, {data}", f"{data}-float64", 5, {"stepper": name}, "zarr")
            for name in ("plain", "squarem", "surrogate")
            for data in ("overlapping", "large")
        ),
        Fitted("stopping increment", _FLAT, 5, {"stopping": "increment", "tol": 1e-4}),
        Fitted("stopping means", _FLAT, 5, {"stopping": "means", "tol": 1e-6}),
        Fitted("n_init 3", _FLAT, 5, {"n_init": 3}),
        Fitted("n_init 3, not progressive", _FLAT, 5, {"n_init": 3, "progressive": False}),
        *_every_start(),
        Fitted(
            "truncate 8 of 220, start whole",
            "many-float64",
            220,
            {"truncate": 8, "stepper": "plain", "max_iter": 12, "covariance_type": "diag"},
            start=whole_start("many-float64", 220, "diag"),
        ),
        Fitted(
            "truncate 8 of 220, zarr",
            "many-float32",
            220,
            {"truncate": 8, "progressive": False, "init_params": "random_from_data"},
            "zarr",
        ),
        Fitted("precision float32 of float64", "apart-float64", 4, {"precision": "float32"}),
        Fitted("precision float64 of float32", "apart-float32", 4, {"precision": "float64"}),
        Fitted("tol 1e-9 of float32", "large-float32", 4, {"tol": 1e-9}),
        Fitted("stage auto", "large-float64", 4, {"stage": "auto"}, "zarr"),
        Fitted(
            "stage auto in float32",
            "large-float64",
            4,
            {"stage": "auto", "stage_dtype": "float32"},
            "zarr",
        ),
        Fitted("npy", "apart-float64", 4, {"covariance_type": "tied"}, "npy"),
        Fitted("rare, memory", "rare-float64", 3),
        Fitted("rare, float32 zarr", "rare-float32", 3, {"stepper": "plain"}, "zarr"),
        Fitted("overlap, too many components", _FLAT, 9, {"max_iter": 60}),
        Fitted("overlap tied", _FLAT, 5, {"covariance_type": "tied", "stepper": "squarem"}),
        *(
            Fitted(
                f"scales, {family}",
                "scaled-float64",
                3,
                {"covariance_type": family, "reg_covar": 1e-18},
            )
            for family in ("full", "tied", "diag")
        ),
        Fitted("scales, float32", "scaled-float32", 3, {"reg_covar": 1e-18}, "zarr"),
        Fitted("reg_covar 0.1", _FLAT, 5, {"reg_covar": 0.1}),
        Fitted("max_iter 2", _FLAT, 5, {"max_iter": 2, "tol": 1e-12}),
        Fitted("one component", "apart-float64", 1),
        Fitted("one feature", "one-feature-float64", 3),
        Fitted("40 features", "wide-float64", 3),
        Fitted("40 features, diag float32", "wide-float32", 3, {"covariance_type": "diag"}, "dask"),
        WarmStarted("warm start", _FLAT, 5),
        *(
            Selected(f"select by {criterion}", _FLAT, (1, 3, 5), ("full", "diag"), criterion)
            for criterion in ("bic", "aic", "icl", "held-out")
        ),
        Selected("select, zarr", "large-float32", (3, 4), ("tied", "spherical"), "bic", "zarr"),
        Resumed("interrupted, plain", "overlapping-float64", 5, 5, _LONG),
        Resumed("interrupted, surrogate", "large-float32", 4, 3, {"tol": 1e-9}),
        Job("job", "apart-float64", {"components": 4, "covariance": "diag", "restarts": 2}),
        Job(
            "job killed",
            "overlapping-float64",
            {"components": 5, "stepper": "plain", "tol": 1e-9, "max_iter": 60},
            is_killed=True,
        ),
        CommandLine("command line", "apart-float32", ("--components", "4", "--seed", "3")),
        SelectedByCommand(
            "command line select",
            "overlapping-float64",
            ("--components", "2:4", "--covariance", "full,tied"),
        ),
    )
}
"""By name. To add a fit, add a row; to add another kind, a class with ``name`` and ``run``."""
