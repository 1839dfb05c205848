"""Peers: who is measured, what each can run, and where it lives.

To add one, write a script ``with_NAME.py`` beside this file and a row in ``PEERS``. A
script runs in the peer's own environment, which has nothing of this project: it
imports only its peer and :mod:`problem`, and defines

    INCLUDES_SETUP : bool
        Whether the seconds of a fit count more than its iterations.
    fit(problem, n_iterations) -> (seconds, (weights, means, covariances))
        Exactly so many iterations of EM from the problem's start.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..grid import Point

__all__ = ["ASKED_FOR", "PEERS", "THIS_PROJECT", "Peer"]


@dataclass(frozen=True)
class Peer:
    """A library that fits Gaussian mixtures.

    Attributes
    ----------
    name : str
    script : str
        A module of this folder.
    families : tuple of str
        Covariance families that it fits.
    environment : str or None
        Of which folder its packages are; None for the environment that runs this.
    installs : tuple of tuples of str
        What pip is given to make the environment, in turn.
    dtype : str or None
        What it is given, whatever the data's dtype; None for the data's own.
    data_dtypes : tuple of str
        Of data that it is worth running on.
    takes_start : bool
        Whether it begins where all begin, so that its log-likelihood can be compared.
    """

    name: str
    script: str
    families: tuple[str, ...]
    environment: str | None = None
    installs: tuple[tuple[str, ...], ...] = ()
    dtype: str | None = None
    data_dtypes: tuple[str, ...] = ("float64", "float32")
    takes_start: bool = True

    def runs(self, point: Point) -> bool:
        """Whether there is something to measure at a point of the grid."""
        return point.covariance in self.families and point.dtype in self.data_dtypes

    def dtype_of(self, point: Point) -> str:
        """What it computes in at a point of the grid."""
        return self.dtype or point.dtype


THIS_PROJECT = Peer("daskgmm", "with_daskgmm", ("full", "tied", "diag", "spherical"))

_ONEDAL = ("daal4py", "scikit-learn<1.6", "packaging")

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "onedal",
            "with_onedal",
            ("full", "diag"),
            "onedal",
            (_ONEDAL,),
            dtype="float64",
        ),
        Peer(
            "onedal-float32",
            "with_onedal",
            ("full", "diag"),
            "onedal",
            (_ONEDAL,),
            data_dtypes=("float32",),
        ),
        Peer(
            "sklearn",
            "with_sklearn",
            ("full", "tied", "diag", "spherical"),
            "sklearn",
            (("scikit-learn",),),
        ),
        Peer(
            "pomegranate",
            "with_pomegranate",
            ("full", "diag"),
            "pomegranate",
            (("torch==2.13.0",), ("pomegranate",)),
            dtype="float32",
        ),
        Peer(
            "bob",
            "with_bob",
            ("diag",),
            "bob",
            (("bob.learn.em", "scikit-learn<1.5"),),
            dtype="float64",
        ),
        Peer(
            "mclust",
            "with_mclust",
            ("full",),
            "sklearn",  # NumPy is all that it takes beside R
            (("scikit-learn",),),
            dtype="float64",
            data_dtypes=("float64",),
        ),
        Peer(
            "spark",
            "with_spark",
            ("full",),
            "spark",
            (("pyspark", "pyarrow", "pandas"),),
            dtype="float64",
            data_dtypes=("float64",),
            takes_start=False,
        ),
        Peer("checkout", "with_checkout", ("full", "tied", "diag", "spherical")),
        Peer("weighted", "with_weights", ("full", "tied", "diag", "spherical")),
        Peer("blocks", "with_blocks", ("full", "tied", "diag", "spherical")),
    )
}
"""All peers by name. oneDAL runs in float64 on all data, and in float32 on float32 data; a
checkout is another one of this project, where DASKGMM_CHECKOUT names its folder, weighted is
this project with weights, and blocks this project through a Dask array."""

ASKED_FOR = ("checkout", "weighted", "blocks", "mclust", "spark")
"""Peers that are this project, or need R or Java, and are measured only where they are named."""
