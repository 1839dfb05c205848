"""Selection: the truth is found, and what the table says is what scoring says."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from made_data import WORDS_OF_FAMILIES, made_mixture, rows_of, write_store
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture, select
from daskgmm.em import CRITERIA, Chooser, Entry, GapLaw, InMemoryRows, Problem, scan_rows
from daskgmm.errors import DataError, ParameterError, SingularComponentError
from daskgmm.events import listening
from daskgmm.kernel import Ridge, count_parameters, log_density

pytestmark = pytest.mark.slow  # each fits many models; tests/cli has a choice of each kind


@pytest.fixture(scope="module")
def x():
    return rows_of(made_mixture("full", 4, 3, separation=6.0), 20_000, seed=1)


@pytest.fixture(scope="module")
def selection(x):
    return select(x, range(2, 7), covariance_type=["full", "tied", "diag"], random_state=0)


def test_printed_it_is_a_table(selection):
    heading, header, *rows = str(selection).splitlines()
    assert heading == "chosen by bic: 4 full components"
    assert header.split()[:3] == ["components", "BIC", "AIC"]
    assert len(rows) == len(selection.entries)
    assert [row.startswith("4 full (chosen)") for row in rows].count(True) == 1
    assert len({len(row) for row in [header, *rows]}) == 1


def test_the_mixture_that_rows_are_drawn_from_is_chosen(selection):
    assert (selection.best.n_components, selection.best.covariance_type) == (4, "full")
    assert selection.model.n_components == 4
    assert selection.note is None
    assert len(selection.entries) == 15
    assert len({(e.n_components, e.covariance_type) for e in selection.entries}) == 15


@pytest.mark.parametrize("family", [name for name in WORDS_OF_FAMILIES if name != "full"])
def test_other_families_are_chosen_where_they_are_true(family):
    truth = made_mixture(family, 3, 4, separation=5.0)
    found = select(
        rows_of(truth, 20_000, seed=2),
        range(2, 5),
        covariance_type=WORDS_OF_FAMILIES,
        random_state=0,
    )
    assert (found.best.n_components, found.best.covariance_type) == (3, family)


def test_criteria_are_those_of_the_model(selection, x):
    score = selection.model.criteria(x)
    # The table has the log-likelihood of the last pass, the model the step after it; the
    # assignment's entropy is taken from a sample.
    p = selection.best.n_parameters
    assert selection.best.bic == pytest.approx(score.bic, abs=0.2 * p)
    assert selection.best.aic == pytest.approx(score.aic, abs=0.2 * p)
    assert selection.best.icl == pytest.approx(score.icl, rel=1e-3)
    assert selection.best.refined
    assert selection.best.bic == min(e.bic for e in selection.entries)


def test_the_chosen_model_is_as_good_as_one_fitted_alone(selection, x):
    alone = GaussianMixture(4, random_state=0).fit(x)
    assert selection.model.score(x) >= alone.score(x) - alone.tol_


def test_candidates_share_their_passes(selection):
    # The scan, a pass at all candidates, and what the best ones take.
    assert selection.model.n_passes_ <= 12
    assert selection.model.rows_read_ == selection.model.n_passes_ * 20_000


@pytest.mark.parametrize("n_sampled", [20_000, 10_000], ids=["in folds", "outside the sample"])
def test_held_out_rows_are_as_new_ones(x, n_sampled):
    rows = InMemoryRows(x)
    chooser = Chooser(rows, scan_rows(rows, n_sampled, 0), "bic", 0)
    problems = [Problem(k, "full", Ridge(1e-6)) for k in range(3, 6)]
    trials, _ = chooser.fitted(chooser.starts(problems, np.random.RandomState(0)))
    best = min((t for t in trials if t.entry.refined), key=lambda t: t.entry.bic)
    fresh = rows_of(made_mixture("full", 4, 3, separation=6.0), 200_000, seed=9)
    error = best.entry.held_out_standard_error
    spread = np.std(log_density(x, best.course.kept))
    assert error == pytest.approx(spread / np.sqrt(n_sampled), rel=0.1)
    # To four standard errors.
    level = norm.isf(1e-4) * error
    held_out = best.entry.held_out_log_likelihood_per_row
    assert abs(held_out - log_density(fresh, best.course.kept).mean()) < level


@pytest.mark.parametrize("n_rows", [600, 20_000])
def test_a_step_too_many_gains_nothing_on_rows_held_out(x, n_rows):
    """And the gain is known far better than what it is gained on."""
    entries = select(x[:n_rows], range(3, 8), random_state=0).entries
    fewest, truth, *more = entries
    assert fewest.held_out_gain_per_row is None
    assert fewest.held_out_gain_standard_error is None
    assert truth.held_out_gain_per_row > 3 * truth.held_out_gain_standard_error
    for before, entry in zip(entries[1:], more, strict=False):
        gain = entry.held_out_gain_per_row
        levels = [e.held_out_log_likelihood_per_row for e in (before, entry)]
        assert gain == pytest.approx(levels[1] - levels[0])
        assert gain < 3 * entry.held_out_gain_standard_error
        assert entry.held_out_gain_standard_error < 0.5 * entry.held_out_standard_error


@pytest.mark.filterwarnings("ignore:.*components come from chance")
def test_folds_are_of_rows_that_the_fit_has_not_seen():
    """Far too many components fit their own rows better than the truth, and others worse."""
    x = np.random.default_rng(0).standard_normal((120, 2))
    (entry,) = select(x, [8], random_state=0).entries
    truth = -1 - np.log(2 * np.pi)
    assert entry.log_likelihood_per_row > truth + 0.1
    assert entry.held_out_log_likelihood_per_row < truth - 0.1


# Of several candidates with a component too many, which these take is chance.
@pytest.mark.parametrize("criterion", ["bic", "icl"])
def test_fits_to_a_part_of_the_sample_change_no_choice(x, criterion):
    rows = InMemoryRows(x)
    scan = scan_rows(rows, len(x), 0)
    problems = [Problem(k, kind, Ridge(1e-6)) for kind in ("full", "diag") for k in (3, 4, 5)]
    chosen = []
    for fewest in (1_000, 10**9):
        chooser = Chooser(rows, scan, criterion, 0, fewest_in_part=fewest)
        trials, _ = chooser.fitted(chooser.starts(problems, np.random.RandomState(0)))
        best = min((t for t in trials if t.entry.refined), key=lambda t: chooser.value(t.entry))
        chosen.append((best.entry.n_components, best.entry.covariance_type))
    assert chosen[0] == chosen[1] == (4, "full")


def test_one_pass_is_enough_to_choose(x):
    with pytest.warns(ConvergenceWarning):
        found = select(x, [3, 4], random_state=0, progressive=False, max_iter=1)
    assert found.best.n_components == 4
    assert found.model.n_passes_ == 2


@pytest.mark.filterwarnings("ignore:(overflow|invalid|divide)")  # densities of a point
@pytest.mark.filterwarnings("ignore:.*components come from chance", "ignore:not converged")
@pytest.mark.parametrize("kind", ["copies", "integers", "rounded", "half at one point"])
def test_components_that_close_in_on_copies_end_no_choice(kind):
    rng = np.random.default_rng(3)
    x = {
        "copies": np.repeat(rng.normal(size=(8, 2)), 6, axis=0),
        "integers": rng.integers(0, 4, size=(80, 2)).astype(float),
        "rounded": np.round(2 * rng.normal(size=(60, 1))),
        "half at one point": np.concatenate([rng.normal(size=(50, 2)), np.zeros((50, 2))]),
    }[kind]
    found = select(x, range(1, 5), reg_covar=0.0, random_state=3)
    assert found.best.refined
    assert np.isfinite(found.model.score(x))


@dataclass(frozen=True, eq=False)
class Collapsing(Ridge):
    """Ridge, whose M-step on all rows collapses for mixtures of some numbers of components."""

    n_rows: int = 0
    counts: frozenset[int] = frozenset()

    def m_step(self, statistics):
        if statistics.n_rows == self.n_rows and len(statistics.n_k) in self.counts:
            raise SingularComponentError("collapsed", 0)
        return super().m_step(statistics)


def _chosen(x, counts, collapsing):
    rows = InMemoryRows(x)
    prior = Collapsing(1e-6, n_rows=len(x), counts=frozenset(collapsing))
    problems = [Problem(k, "full", prior, tol=1e-12) for k in counts]
    chooser = Chooser(rows, scan_rows(rows, len(x) // 2, 0), "bic", 0, fewest_in_part=1000)
    return chooser.fitted(chooser.starts(problems, np.random.RandomState(0)))


def test_where_all_that_can_win_collapse_it_is_said(x):
    with pytest.raises(SingularComponentError, match="every candidate collapsed on all rows"):
        _chosen(x, [2, 4], collapsing={2, 4})


def test_those_that_collapse_late_leave_the_choice_to_the_others(x):
    """On all rows, where they had not on the sample: the truth alone is left to win, and then not."""
    trials, n_passes = _chosen(x, [2, 3, 4], collapsing={4})
    assert [trial.entry.n_components for trial in trials] == [2, 3]
    best = min((t for t in trials if t.entry.refined), key=lambda t: t.entry.bic)
    assert best.entry.n_components == 3
    # The pass on which the truth collapsed, and those of the others.
    assert n_passes == 1 + len(best.course.history)


def test_starts_as_they_were_made_all_go_on():
    """Not fitted to a sample, nothing bounds what they may gain."""
    x = np.random.default_rng(0).normal(size=(2000, 2))
    x[::2] += 6
    found = select(x, [1, 2, 3, 4], random_state=0, progressive=False, stepper="surrogate")
    assert [entry.n_components for entry in found.entries] == [1, 2, 3, 4]
    assert all(entry.refined for entry in found.entries)
    assert found.best.n_components == 2


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "bootstrap"])
def test_what_could_not_win_stands_behind_what_did(criterion):
    """Also where two components overlap, of which ICL would rather have one."""
    truth = made_mixture("full", 5, 2, separation=2.5)
    x = rows_of(truth, 150_000, seed=3)
    found = select(x, range(2, 8), criterion=criterion, random_state=0)
    value = CRITERIA[criterion]
    assert all(value(entry) >= value(found.best) for entry in found.entries)


def _entry(k, log_likelihood, family="full", n_rows=1_000_000):
    """Of one feature, as BIC and AIC see a log-likelihood per row."""
    p = count_parameters(family, k, 1)
    aic = 2 * p - 2 * n_rows * log_likelihood
    bic = aic + p * (np.log(n_rows) - 2)
    return Entry(k, family, p, log_likelihood, bic, aic, bic, log_likelihood, 0, None, None, False)


def _second_can_win(entries, criterion="bic", shortfall=1e-4, seen=0.0, slack=0.0):
    law = GapLaw(1_000_000, shortfall=shortfall, seen_held_out=seen)
    can_win = law.which_can_win(entries, criterion, lambda i, leader: slack)
    assert can_win[0]
    return can_win[1]


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_a_candidate_may_gain_what_parameters_gain_that_the_leader_lacks(criterion):
    """3 of one component more, by half of the law's margin: 2.25e-4 nats per row."""
    leader = _entry(3, -1.0)
    penalty = (CRITERIA[criterion](_entry(4, -1.0)) - CRITERIA[criterion](leader)) / 2e6
    assert _second_can_win([leader, _entry(4, -1.0 + penalty - 2.24e-4)], criterion)
    assert not _second_can_win([leader, _entry(4, -1.0 + penalty - 2.26e-4)], criterion)
    assert _second_can_win([leader, _entry(4, -1.0 + penalty - 3.24e-4)], criterion, slack=1e-4)
    assert not _second_can_win([leader, _entry(4, -1.0 + penalty - 3.26e-4)], criterion, slack=1e-4)


def test_one_of_fewer_components_gains_nothing_beside_the_leader():
    fewer, leader = _entry(2, -1.0), _entry(3, -1.0)
    more = (leader.bic - fewer.bic) / 2e6
    leader = _entry(3, -1.0 + more + 1e-6)
    assert not _second_can_win([leader, fewer])
    assert _second_can_win([leader, fewer], slack=1.1e-6)


def test_one_of_another_family_has_no_parameter_of_the_leader():
    leader, other = _entry(3, -1.0), _entry(3, -1.0, "tied")
    ahead = (leader.bic - other.bic) / 2e6  # with fewer parameters
    gap = 1.5 * 0.5 * other.n_parameters * 1e-4
    assert _second_can_win([leader, _entry(3, -1.0 - ahead - gap + 1e-6, "tied")])
    assert not _second_can_win([leader, _entry(3, -1.0 - ahead - gap - 1e-6, "tied")])


def test_rows_that_are_held_out_in_the_end_see_their_share_of_the_gap():
    leader, gap = _entry(3, -1.0), 2.25e-4
    assert not _second_can_win([leader, _entry(4, -1.0 - 1e-6)], "held-out")
    assert _second_can_win([leader, _entry(4, -1.0 - 0.74 * gap)], "held-out", seen=0.75)
    assert not _second_can_win([leader, _entry(4, -1.0 - 0.76 * gap)], "held-out", seen=0.75)
    assert _second_can_win(
        [leader, _entry(4, -1.0 - 0.74 * gap - 1e-4)], "held-out", seen=0.75, slack=1e-4
    )


def test_a_criterion_that_is_no_number_leads_nothing():
    assert not _second_can_win([_entry(3, -1.0), _entry(4, np.nan)])


def test_a_candidate_that_collapses_is_left_out():
    """Half of the rows are one point: with two components and more, one of them has it."""
    x = rows_of(made_mixture("full", 1, 2), 4000, seed=0)
    x[::2] = 50.0
    heard = []
    with listening(heard.append):
        found = select(x, [1, 2], reg_covar=0.0, progressive=False, random_state=0)
    assert [entry.n_components for entry in found.entries] == [1]
    assert [e.message for e in heard if getattr(e, "level", "") == "warning"] == [
        event.message for event in heard if "left out: 2 full" in getattr(event, "message", "")
    ]
    with pytest.raises(SingularComponentError):
        select(x, [2, 3], reg_covar=0.0, progressive=False, random_state=0)


def test_what_is_meant_for_one_fit_is_refused(x, tmp_path):
    with pytest.raises(ParameterError, match="no use for checkpoint, means_init"):
        select(x, [2], checkpoint=tmp_path, means_init=x[:2])


@pytest.mark.filterwarnings("ignore:.*components come from chance")
@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "bootstrap"])
def test_every_criterion_chooses_its_smallest(x, criterion):
    found = select(x[:4000], range(2, 6), criterion=criterion, random_state=0)
    value = CRITERIA[criterion]
    assert value(found.best) == min(value(e) for e in found.entries if e.refined)
    assert found.criterion == criterion


def test_a_criterion_that_keeps_rising_is_said():
    x = np.random.default_rng(0).uniform(size=(20_000, 2))  # no mixture at all
    found = select(x, range(1, 6), random_state=0)
    assert found.best.n_components == 5
    assert "most that were tried" in found.note
    assert "held-out" in found.note


def test_stored_rows_give_the_same_choice_twice(x, tmp_path):
    store = str(write_store(tmp_path / "x.zarr", x, 1000))
    one, other = (select(store, [3, 4], random_state=0) for _ in range(2))
    assert one.as_dict() == other.as_dict()
    assert one.best.n_components == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": []}, "numbers of components"),
        ({"components": [0]}, "n_components"),
        ({"components": [2], "criterion": "magic"}, "bic, aic, icl, held-out"),
        ({"components": [2], "covariance_type": ["full", "round"]}, "spherical"),
        ({"components": [2], "reg_covar": -1.0}, "reg_covar"),
    ],
)
def test_wrong_arguments_are_refused(x, arguments, message):
    with pytest.raises((ParameterError, ValueError), match=message):
        select(x, **arguments)


def test_too_few_rows_are_refused(x):
    with pytest.raises(DataError, match="too few"):
        select(x[:5], [2, 3])


def test_progress_counts_candidates(capsys):
    x = np.random.default_rng(0).normal(size=(300, 2))
    select(x, [1, 2], covariance_type=["full", "diag"], random_state=0, verbose=1)
    counts = re.findall(r"fitted to the sample: (\d+) of (\d+) candidates", capsys.readouterr().err)
    assert counts == [("1", "4"), ("2", "4"), ("3", "4"), ("4", "4")]


def test_a_fit_of_more_components_that_is_lower_is_said():
    """One Gaussian that k-means has cut in halves, which no pass has time to mend."""
    x = np.random.default_rng(0).normal(size=(2_000, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = select(x, [1, 2], progressive=False, max_iter=1, random_state=0)
    said = "2 full fits less well than 1 full"
    assert said in found.note
    assert said in str(found)
    way_out = select(x, [1, 2], random_state=0)  # with the default's starts and passes
    assert said not in (way_out.note or "")
