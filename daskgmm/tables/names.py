"""Names of features: where data have them, and what scikit-learn asks of them."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from daskgmm.errors import ColumnError, DataError, FeaturesError, warn

__all__ = [
    "check_features",
    "check_names",
    "check_units",
    "columns_named",
    "known_name",
    "means_place",
    "names_of",
    "names_of_last_dimension",
    "with_columns_named",
]

_MOST_SHOWN = 5
_NEAR, _NEAR_SHORT, _SHORT = 0.75, 0.6, 3
"""How like a name another one has to be to be suggested, and letters of a short one."""

Names = tuple[str, ...]


def names_of(labels: Iterable[Any]) -> Names | None:
    """Labels of columns, if they are strings; None if none is.

    Raises
    ------
    TypeError
        If some are and some are not: in scikit-learn's words.
    DataError
        If two columns have one name, which could not be told apart; or if names are tuples, as
        columns of several levels have.
    """
    if (n_levels := getattr(labels, "nlevels", 1)) > 1:
        raise DataError(
            f"the columns have names of {n_levels} levels; make them strings, by using "
            "X.columns = ['_'.join(map(str, name)) for name in X.columns] for example"
        )
    names = tuple(labels)
    kinds = {type(name).__name__ if not isinstance(name, str) else "str" for name in names}
    if kinds == {"str"}:
        doubled = [name for name, count in Counter(names).items() if count > 1]
        if doubled:
            raise DataError(
                f"several columns have the same name: {_shown(list(map(repr, doubled)))}; rename "
                "them, or leave all but one of them out"
            )
        return tuple(str(name) for name in names)
    if "str" in kinds:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your "
            f"input has {sorted(kinds)} as feature name / column name types. If you want feature "
            "names to be stored and validated, you must convert them all to strings, by using "
            "X.columns = X.columns.astype(str) for example. Otherwise you can remove feature / "
            "column names from your input data, or convert them all to a non-string data type."
        )
    return None


def names_of_last_dimension(x: Any) -> Names | None:
    """Coordinates of the last dimension of an xarray.DataArray, if they are strings."""
    if x.dims[-1] not in x.coords:
        return None
    labels = x.coords[x.dims[-1]].to_numpy().tolist()
    return names_of(labels) if all(isinstance(label, str) for label in labels) else None


def known_name(name: str, known: Sequence[Hashable], what: str) -> Hashable:
    """The one of ``known`` whose text is ``name``.

    Raises
    ------
    DataError
        If there is none: with the one that is nearest, or all of ``what`` there is.
    """
    by_text = {str(one): one for one in known}
    if name in by_text:
        return by_text[name]
    # One letter of a short name is much of it; beyond that, "coslat" is no slip of "lat".
    cutoff = _NEAR if len(name) > _SHORT else _NEAR_SHORT
    near = difflib.get_close_matches(name, by_text, 1, cutoff)
    hint = f"did you mean {near[0]!r}?" if near else f"name one of {', '.join(by_text) or 'others'}"
    raise DataError(f"there is no {name!r} among the {what}; {hint}")


def means_place(name: str, is_known: bool) -> bool:
    """Whether a text that can name a column of the data is the path or URL of something else.

    Parameters
    ----------
    name : str
    is_known : bool
        Whether there is such a column, which comes first.
    """
    return not is_known and ("/" in name or os.sep in name or os.path.exists(name))


def check_features(
    fitted: tuple[int, Sequence[str] | None], given: tuple[int, Names | None], who: str, data: str
) -> None:
    """Refuse rows whose features are not those of the fit, as scikit-learn does.

    Parameters
    ----------
    fitted, given : tuple
        Number of features, and their names or None: of the fit, and of the rows.
    who : str
        What messages call the model.
    data : str
        What they call the rows.

    Raises
    ------
    DataError

    Warns
    -----
    UserWarning
        If only one of them has names.
    """
    (n_fitted, names), (n_given, others) = fitted, given
    if names is None and others is not None:
        warn(f"X has feature names, but {who} was fitted without feature names", UserWarning)
    elif names is not None and others is None:
        warn(
            f"X does not have valid feature names, but {who} was fitted with feature names",
            UserWarning,
        )
    check_names(names, others)
    if n_given != n_fitted:
        raise FeaturesError(
            f"X has {n_given} features, but {who} is expecting {n_fitted} features as input: "
            f"{data} has {n_given} features"
        )


def check_names(fitted: Sequence[str] | None, given: Names | None) -> None:
    """Refuse names that are not those of the fit, in scikit-learn's words; it reads no row.

    Raises
    ------
    DataError
    """
    if fitted is not None and given is not None and tuple(fitted) != given:
        raise FeaturesError(_mismatch(fitted, given))


def check_units(
    fitted: Sequence[str] | None,
    given: Sequence[str] | None,
    names: Sequence[str] | None,
    data: str,
) -> None:
    """Warn of features whose units differ from those of the fit; numbers are taken as they are.

    Units that are written in another way are no error, and cannot be told from others.

    Parameters
    ----------
    fitted, given : sequence of str or None
        Units of the fit, and of the rows; empty where there are none.
    names : sequence of str or None
        Of the features.
    data : str
        What messages call the rows.

    Warns
    -----
    DaskGMMWarning
    """
    if fitted is None or given is None:
        return
    called = range(len(fitted)) if names is None else names
    differ = [
        f"{name} is in {theirs!r} and was in {ours!r}"
        for name, ours, theirs in zip(called, fitted, given, strict=True)
        if ours.strip() and theirs.strip() and ours.strip() != theirs.strip()
    ]
    if differ:
        warn(
            f"{data} has other units than the rows of the fit: {_shown(differ)}; if these are not two "
            "names of the same unit, convert the values first: they are taken as they are"
        )


@contextmanager
def columns_named(names: Names | None) -> Iterator[None]:
    """Context in which errors of columns say their names, where the data have names."""
    try:
        yield
    except ColumnError as error:
        if names is None:
            raise
        raise error.named(names) from None


def with_columns_named(block: Any, names: Names, function: Callable[..., Any], *args: Any) -> Any:
    """``function(block, *args)``, whose errors say names of columns on whichever worker."""
    with columns_named(names):
        return function(block, *args)


def _shown(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_SHOWN], *(["..."] if len(names) > _MOST_SHOWN else [])])


def _mismatch(fitted: Sequence[str], given: Sequence[str]) -> str:
    unseen, missing = sorted(set(given) - set(fitted)), sorted(set(fitted) - set(given))
    text = "The feature names should match those that were passed during fit.\n"
    for names, what in (
        (unseen, "Feature names unseen at fit time:\n"),
        (missing, "Feature names seen at fit time, yet now missing:\n"),
    ):
        if names:
            shown = [*names[:_MOST_SHOWN], *(["..."] if len(names) > _MOST_SHOWN else [])]
            text += what + "".join(f"- {name}\n" for name in shown)
    if not unseen and not missing:
        text += "Feature names must be in the same order as they were in fit.\n"
    if not missing:
        return text + "Choose them by X[list(model.feature_names_in_)].\n"
    along = {u for u in unseen if sum(name.startswith(f"{u}_") for name in missing) > 1}
    if along:
        of_fit = (next((u for u in along if name.startswith(f"{u}_")), name) for name in fitted)
        variables = list(dict.fromkeys(of_fit))
        text += (
            "Those of the fit are values of variables along a dimension: give "
            f"open_rows(X, variables={variables}, feature_dim=...).\n"
        )
    return text
