"""scikit-learn's own tests of its GaussianMixture, with the class swapped.

They are those of the installed package, read and not copied here. What fails is listed with its
reason; the table of the guide from-scikit-learn has the reasons.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

THEIRS = "from sklearn.mixture import GaussianMixture\n"
OURS = "from daskgmm import GaussianMixture\n"

_WORDS = "words of errors: refused as there, in words of our own"
_PRIVATE = "private names: scikit-learn's, patched or called, and not there here"
_STARTS = "progressive=True: starts compete first, so that the first pass is at an optimum"
_COLLAPSE = "a component that collapses: an error that names it, where scikit-learn goes on"
_ROUNDING = "n_init: optima that are equal to rounding, in another order of sums"

REASONS: dict[str, str] = {
    "test_check_weights": _WORDS,
    "test_check_means": _WORDS,
    "test_check_precisions": _WORDS,
    "test_regularisation": _WORDS,
    "test_gaussian_mixture_fit_convergence_warning": _STARTS,
    "test_warm_start": _STARTS,
    "test_score": _STARTS,
    "test_multiple_init": _ROUNDING,
    "test_init": _ROUNDING,
    "test_gaussian_mixture_setting_best_params": _COLLAPSE,
    "test_gaussian_mixture_precisions_init": _PRIVATE,
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": _PRIVATE,
}
"""Name of a test: why it fails. What comes before a colon is a row of the guide's table."""

BY_MESSAGE: dict[str, str] = {
    "dtype('float64') == <class 'numpy.float32'>": (
        "dtype of parameters: float64, of rows of any dtype"
    ),
}
"""What a failure says: why it does."""

SKIPPED = "array API namespaces: rows are worked on as NumPy arrays"
"""Why their skipped tests do not apply here."""


@dataclass
class Outcome:
    """How the tests ended, by the name of each, parameters included."""

    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def unexplained(self) -> list[str]:
        """Failed tests for which there is no reason."""
        return [name for name, message in self.failed.items() if reason_of(name, message) is None]

    def lines(self) -> Iterator[str]:
        """A line for each test that failed, and the counts."""
        for name, message in self.failed.items():
            reason = reason_of(name, message)
            yield f"{name}: {reason or 'NO REASON KNOWN: ' + message}"
        for why, n in Counter(self.skipped.values()).items():
            yield f"{n} skipped, as with their own class here ({why}): {SKIPPED}"
        for name in sorted(set(REASONS) - {failed.partition("[")[0] for failed in self.failed}):
            yield f"{name} passes here; where it fails: {REASONS[name]}"
        yield (
            f"{len(self.passed)} passed, {len(self.failed)} failed "
            f"({len(self.unexplained)} without a reason), {len(self.skipped)} skipped"
        )

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take a report of pytest in."""
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash is not None else str(report.longrepr)
            self.failed[name] = " ".join(message.split())[:300]
        elif report.skipped:
            *_, why = report.longrepr  # path, line, and what their test said
            self.skipped[name] = str(why).removeprefix("Skipped: ")
        elif report.when == "call":
            self.passed.append(name)


class _Fixtures:
    """Those of scikit-learn's conftest, which is not of the installed package."""

    @pytest.fixture
    def global_random_seed(self) -> int:
        """Theirs by default."""
        return 42

    @pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
    def global_dtype(self, request: pytest.FixtureRequest) -> Any:
        """Both of theirs."""
        return request.param


def reason_of(name: str, message: str) -> str | None:
    """Why a test fails, if that is known."""
    said = (reason for text, reason in BY_MESSAGE.items() if text in message)
    return REASONS.get(name.partition("[")[0]) or next(said, None)


def swapped() -> str:
    """Their tests, with our class.

    Raises
    ------
    RuntimeError
        If the installed package has no such tests, or they import the class otherwise.
    """
    spec = importlib.util.find_spec("sklearn.mixture.tests.test_gaussian_mixture")
    if spec is None or spec.origin is None:
        raise RuntimeError("the installed scikit-learn has no tests; install it with them")
    text = Path(spec.origin).read_text(encoding="utf-8")
    if text.count(THEIRS) != 1:
        raise RuntimeError(f"scikit-learn's tests do not import the class by {THEIRS!r} any more")
    return text.replace(THEIRS, OURS)


def run() -> Outcome:
    """Run their tests in this process."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="daskgmm-peers-") as folder:
        file = Path(folder) / "test_swapped_gaussian_mixture.py"
        file.write_text(swapped(), encoding="utf-8")
        ini = Path(folder) / "pytest.ini"
        ini.write_text("[pytest]\n", encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.main(
                [
                    *("-q", "--no-header", "--no-summary"),
                    *("-p", "no:cacheprovider", "-W", "ignore", "--tb=line"),
                    *("-c", str(ini), "--rootdir", folder, str(file)),
                ],
                plugins=[outcome, _Fixtures()],
            )
    return outcome
