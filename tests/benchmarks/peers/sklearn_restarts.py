"""scikit-learn with its defaults, restart after restart.

    python sklearn_restarts.py DATA COMPONENTS COVARIANCE RESTARTS

Fits that follow each other on one random state are those of ``n_init=RESTARTS``, from the
same starts; but each is told of on standard output as it ends, so that somebody who loses
patience keeps what there is. A line of JSON each, after an empty object that says that
rows are in memory.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

_SEED = 0


def restart(
    x: NDArray[Any], n_components: int, covariance: str, random_state: np.random.RandomState
) -> dict[str, Any]:
    """Seconds of one fit, and what is known of it."""
    model = GaussianMixture(n_components, covariance_type=covariance, random_state=random_state)
    began = time.perf_counter()
    model.fit(x)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "log_likelihoods": [float(value) for value in model.lower_bounds_],
        "smallest_weight": float(model.weights_.min()),
        "converged": bool(model.converged_),
    }


def main() -> None:
    """Tell of each restart as it ends."""
    data, n_components, covariance, n_restarts = sys.argv[1:]
    warnings.simplefilter("ignore", ConvergenceWarning)
    x = np.load(data)
    print(json.dumps({}), flush=True)
    random_state = np.random.RandomState(_SEED)
    for _ in range(int(n_restarts)):
        print(json.dumps(restart(x, int(n_components), covariance, random_state)), flush=True)


if __name__ == "__main__":
    main()
