"""Loops: the same bits on every instruction set, and what is said and done where there are none.

That they give the right numbers is for test_formulations, test_moments and test_truncated,
which hold whichever variant runs against NumPy and against higher precision.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_data import covariances_of, made_mixture, rows_of
from with_loops import needs_loops

import daskgmm
from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Mixture,
    Pass,
    gaussian_mixture,
    loops,
    moments_and_extremes,
    students_of,
)
from daskgmm.kernel.formulations.compiled import CompiledNatural, CompiledWhitened
from daskgmm.kernel.formulations.compiled_tailed import (
    CompiledTailedNatural,
    CompiledTailedWhitened,
)
from daskgmm.kernel.loops.library import VARIANTS
from daskgmm.kernel.truncated import Neighbourhoods, truncated_statistics

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

SHAPES = [(1, 1), (2, 3), (5, 4), (7, 9), (13, 17), (33, 2), (48, 6), (40, 21)]
"""Of components and features: remainders of every width, and enough for skipping to pay."""


def _case(k, d, stored, is_weighted):
    mixture = made_mixture("full", k=k, d=d, seed=k)
    x = rows_of(mixture, 1_237, seed=d)
    weight = np.random.default_rng(d).uniform(0.1, 3.0, len(x)) if is_weighted else None
    return mixture, Block(np.asarray(x, stored), weight=weight)


def _results(mixture, block, dtype):
    """Everything that the loops compute of a block, an array each."""
    for formulation in (CompiledNatural, CompiledWhitened):
        made = formulation(mixture, dtype)
        found = made.statistics(block)
        yield from (np.float64(found.log_likelihood), *found.sums.values())
    near = Neighbourhoods.of(mixture, min(3, mixture.n_components))
    yield near.cells_of(block.x)
    found = truncated_statistics(block, mixture, near, dtype)
    yield from (np.float64(found.log_likelihood), *found.sums.values())
    if dtype == FLOAT64:
        yield CompiledNatural(mixture, dtype).log_densities(block.x)
        yield from _with_gaps(mixture, block)
        yield from _with_tails(mixture, block)
    moments, low, high = moments_and_extremes(block)
    yield from (moments.mean, moments.scatter, low, high)


def _with_gaps(mixture, block):
    """Sums over rows with gaps, and with noise beside, of components of several kinds."""
    gaps = np.random.default_rng(1).random(block.x.shape) < 0.3
    gaps[:, 0] &= ~gaps.all(axis=1)
    block = replace(block, x=np.where(gaps, np.nan, block.x).astype(block.x.dtype), has_gaps=True)
    yield from (block.gaps.rows, block.gaps.n_missing) if gaps.any() else ()
    for kind in ("full", "tied", "diag"):
        covariances = covariances_of(kind, mixture.components.dense())
        of_kind = gaussian_mixture(mixture.weights, mixture.means, covariances, kind)
        noise = np.random.default_rng(2).uniform(0, 2, block.x.shape)
        for rows in (block, replace(block, measurement_noise=noise)):
            found, log_densities = Pass(of_kind).with_log_densities(rows)
            yield from (np.float64(found.log_likelihood), *found.sums.values(), log_densities)


def _with_tails(mixture, block):
    """Sums of t components of few and of many degrees of freedom."""
    law = students_of(COMPONENTS["full"], "each")
    nu = np.geomspace(0.5, 1e4, mixture.n_components)
    tailed = Mixture(mixture.weights, law(mixture.means, mixture.components.dense(), nu))
    for formulation in (CompiledTailedNatural, CompiledTailedWhitened):
        log_density = np.empty(len(block))
        found = formulation(tailed, FLOAT64).statistics(block, log_density)
        yield from (np.float64(found.log_likelihood), *found.sums.values(), log_density)


def _bits(*case):
    return [hashlib.sha1(np.ascontiguousarray(found)).hexdigest() for found in _results(*case)]


@needs_loops
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("stored", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize(("k", "d"), SHAPES)
def test_every_instruction_set_gives_the_same_bits(k, d, dtype, stored, is_weighted, monkeypatch):
    mixture, block = _case(k, d, stored, is_weighted)
    expected = _bits(mixture, block, dtype)
    for variant in VARIANTS:
        monkeypatch.setattr(loops, "VARIANT", variant)
        assert _bits(mixture, block, dtype) == expected, variant


@needs_loops
@pytest.mark.parametrize("wrong", ["dtype", "order", "shape"])
def test_arrays_that_the_loops_would_misread_are_refused(wrong):
    x = np.zeros((8, 4))
    changed = {"dtype": x.astype("f4"), "order": np.asfortranarray(x), "shape": x[:, :3].copy()}
    nearest = np.zeros(8, np.int64)
    with pytest.raises(TypeError, match="C-contiguous"):
        loops.find_nearest(x, np.zeros(4), changed[wrong], np.zeros(8), nearest)


_FIT = """
import sys
import numpy as np
from daskgmm import GaussianMixture
from daskgmm.kernel import loops
x = np.random.default_rng(0).normal(size=(1000, 2)) + 8.0 * (np.arange(1000) % 2)[:, None]
fit = GaussianMixture(2, random_state=0, verbose=1).fit(x)
print(loops.described(), f"{fit.lower_bound_:.9f}", sep="; ")
"""


def _python(code, folder=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=folder,
    )


@pytest.mark.slow
def test_without_loops_numpy_does_the_work_and_a_fit_says_so():
    found = _python(_FIT, DASKGMM_LOOPS="none")
    assert found.returncode == 0, found.stderr
    assert "none: DASKGMM_LOOPS is none" in found.stdout
    assert "no compiled loops" in found.stdout + found.stderr
    usual = _python(_FIT)
    assert usual.stdout.splitlines()[-1].split("; ")[1] in found.stdout
    if loops.VARIANT is not None:
        assert "no compiled loops" not in usual.stdout + usual.stderr


def test_a_variant_that_cannot_run_is_refused_with_those_that_can():
    found = _python("import daskgmm.kernel", DASKGMM_LOOPS="pdp11")
    assert found.stderr.splitlines()[-1].endswith(", ".join(("none", *VARIANTS)))


@needs_loops
def test_a_library_of_other_sources_is_not_used(tmp_path):
    shutil.copytree(Path(daskgmm.__file__).parent, tmp_path / "daskgmm")
    source = tmp_path / "daskgmm/kernel/loops/vectors.h"
    if not source.exists():
        pytest.skip("installed from a wheel, without sources")
    source.write_text(source.read_text() + "// changed\n")
    code = "from daskgmm.kernel import loops; print(loops.described())"
    here = {"PYTHONPATH": str(tmp_path), "DASKGMM_LOOPS_LIBRARY": "", "DASKGMM_LOOPS": ""}
    assert "other sources" in _python(code, tmp_path, **here).stdout
