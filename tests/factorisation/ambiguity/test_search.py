import numpy as np
import pytest
from support import feasible_triangles
from support.drawn_mixtures import evidence

from eds_xr.factorisation.ambiguity.intervals import share_intervals
from eds_xr.factorisation.ambiguity.search import BROKEN, TOLERANCE, Goal, Search

PAIRS = [(0, 1), (2, 1), (3, 2)]


def goals_of(found, pairs=PAIRS):
    size = len(found.spectra)
    return [
        Goal(c, found.values[a], found.values[b], sign)
        for c in range(size)
        for a, b in pairs
        for sign in (-1.0, 1.0)
    ]


@pytest.mark.parametrize("phases", [2, 3, 5])
def test_at__slopes_are_those_of_small_steps(phases):
    search = Search(evidence(phases))
    turn = np.eye(phases) + np.random.default_rng(1).normal(0, 0.05, (phases, phases))
    step = 1e-5 * np.random.default_rng(2).normal(size=phases * (phases - 1))
    now = search.at(turn)
    after = search.at(search._moved(turn, step))
    np.testing.assert_allclose(
        after.left - now.left, search._after(now, step) - now.left, atol=3e-6
    )
    some = np.array([0, 7, len(now.left) - 1])
    np.testing.assert_allclose(
        search._by_step(now, some) @ step, search._after(now, step)[some] - now.left[some]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("purest", "seed"), [(0.9, 1), (0.65, 6)])
def test_of_all__equals_brute_force_of_three_components(purest, seed):
    found = evidence(3, purest=purest, seed=seed)
    corners = feasible_triangles.corners(found.bins, found.limits, TOLERANCE, angles=300)
    extremes = share_intervals(found, PAIRS).extremes
    for c in range(3):
        corner = corners.of(np.eye(3)[c])
        assert len(corner) > 300
        for n, (a, b) in enumerate(PAIRS):
            tried = least_and_most(*(corner @ found.values[i] for i in (a, b)))
            width = tried[1] - tried[0]
            np.testing.assert_allclose(extremes[c, n], tried, atol=0.05 * width + 2e-3)


def least_and_most(first, second):
    """Return the extremes of the share; where there is nothing of either, it may be anything."""
    first, second = first.clip(0), second.clip(0)
    if (first + second).min() == 0:
        return 0.0, 1.0
    return (first / (first + second)).min(), (first / (first + second)).max()


def test_of_all__of_two_components_goes_as_far_as_single_steps_do():
    found = evidence(2)
    search = Search(found)
    ends = search.of_all(goals_of(found, [(0, 1)]))
    shares = []
    for taken in np.linspace(-0.6, 0.6, 6001):  # of two, each bound is one step's alone
        for other in (0.0, 0.01, -0.01):
            turn = np.array([[1 - taken, taken], [other, 1 - other]])
            if search.at(turn).broken < 1e-9:
                shares.append(goals_of(found, [(0, 1)])[0].share(turn))
    assert -ends[0].gained <= min(shares) + 1e-4
    assert ends[1].gained >= max(shares) - 1e-4
    assert max(shares) - min(shares) > 0.02


@pytest.mark.slow
def test_of_all__no_walk_among_allowed_mixings_leaves_the_extremes():
    phases = 4
    found = evidence(phases, purest=0.7, seed=5)
    search = Search(found)
    goals = goals_of(found, PAIRS[:2])
    ends = search.of_all(goals)
    random, turn, walked = np.random.default_rng(0), np.eye(phases), []
    for _ in range(1500):
        step = random.normal(size=phases * (phases - 1)) * 10 ** random.uniform(-3, -0.5)
        tried = search._moved(turn, step)
        if search.at(tried).broken == 0:
            turn = tried
            walked.append([goal.gained(turn) for goal in goals])
    assert len(walked) > 100
    beyond = np.max(walked, axis=0) - [end.gained for end in ends]
    assert beyond.max() < 2e-3
    assert all(search.at(end.turn).broken <= BROKEN for end in ends)


@pytest.mark.slow
def test_search__grants_what_the_given_spectra_do_not_explain_either():
    found = evidence(3)
    rows = found.bins.rows.copy()
    rows[5] = [-0.2 * rows[5].sum(), *rows[5][1:]]  # of something else
    strange = found._replace(bins=found.bins._replace(rows=rows))
    search = Search(strange)
    assert search.at(np.eye(3)).broken == 0
    assert (search.granted > TOLERANCE + 5).sum() == 1
    plain, with_stranger = (share_intervals(e, PAIRS) for e in (found, strange))
    np.testing.assert_allclose(with_stranger.extremes, plain.extremes, atol=0.1)
    assert (with_stranger.extremes[..., 0] <= with_stranger.value + 1e-9).all()
    assert (with_stranger.extremes[..., 1] >= with_stranger.value - 1e-9).all()


def test_goal__of_nothing_may_be_anything():
    found = np.array([0.0, 1.0])
    least, most = (Goal(0, found, found, sign) for sign in (-1.0, 1.0))
    assert (least.share(np.eye(2)), most.share(np.eye(2))) == (0, 1)
    assert least.is_reached(np.eye(2))
    assert most.is_reached(np.eye(2))
