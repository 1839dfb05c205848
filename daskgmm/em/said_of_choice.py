"""What is said of a choice: that more components may be better, and which fits are poor."""

from __future__ import annotations

from collections.abc import Sequence

from daskgmm.em.criteria import Entry
from daskgmm.em.problem import GAPS
from daskgmm.em.scan import Scan

__all__ = ["said_of_most_tried", "said_of_poor_fits"]


def said_of_poor_fits(entries: Sequence[Entry], scan: Scan) -> str | None:
    """For people, which candidate has a lower log-likelihood than one of fewer components; None if none.

    No optimum has: dividing a component into two equal ones leaves the log-likelihood as it is.

    Parameters
    ----------
    entries : sequence of Entry
    scan : Scan
        Of the rows that they were fitted to.
    """
    n, n_fitted = scan.weight, scan.sample.total_weight
    poor = list[str]()
    for entry in entries:
        # Small differences are expected: an optimum of a sample lacks some on all rows, and some is chance.
        lacking = 0.0 if entry.refined else GAPS * max(n / n_fitted - 1.0, 0.0)
        by_chance = 0.5 * entry.n_parameters * (1.0 + lacking) / n
        fewer = [
            other
            for other in entries
            if other.covariance_type == entry.covariance_type
            and other.n_components < entry.n_components
            and other.log_likelihood_per_row > entry.log_likelihood_per_row + by_chance
        ]
        if fewer:
            other = max(fewer, key=lambda one: one.log_likelihood_per_row)
            gap = other.log_likelihood_per_row - entry.log_likelihood_per_row
            poor.append(
                f"{entry.n_components} {entry.covariance_type} fits less well than "
                f"{other.n_components} {other.covariance_type}, by {gap:.2g} nats per row"
            )
    if not poor:
        return None
    more = f" and {len(poor) - 1} more like it" if len(poor) > 1 else ""
    return (
        f"{poor[0]}{more}; with more components the optimum fits at least as well, so this fit ended "
        "at a poor one: "
        "raise n_init (--restarts) or max_iter"
    )


def said_of_most_tried(entries: Sequence[Entry], best: Entry, criterion: str) -> str | None:
    """For people, that the best candidate has the most components that were tried, if it has."""
    same = [entry for entry in entries if entry.covariance_type == best.covariance_type]
    ks = [entry.n_components for entry in same]
    if len(ks) < 2 or best.n_components < max(ks):
        return None
    if criterion == "bootstrap":
        return (
            f"fewer than {best.n_components} {best.covariance_type} components, the most that were "
            "tried, are rejected: try more"
        )
    return (
        f"{criterion} still improves at {best.n_components} {best.covariance_type} components, the "
        f"most that were tried: try more; or, since with many rows it may rise for ever, ask "
        f"whether the last step's gain of {best.held_out_gain_per_row:.2g} nats per held-out row "
        f"(standard error {best.held_out_gain_standard_error:.1g}) is worth having"
    )
