import numpy as np
from support.drawn_mixtures import drawn, net_weights, shares, spectra

from eds_xr.factorisation.ambiguity.evidence import SCORE_ERROR, SPECTRUM_ERROR, gathered

NONE = np.zeros((4, 3), bool)


def at_truth(found):
    """Scores and limits over their noise, for the mixing that is true."""
    truth = np.linalg.lstsq(found.spectra.T, spectra(3).T, rcond=None)[0].T
    scores, score_noise, _ = found.bins.at(np.linalg.inv(truth))
    limits, limit_noise, _ = found.limits.at(truth.T)
    return scores, score_noise, limits, limit_noise


def test_gathered__scores_scatter_about_the_truth_as_they_say(monkeypatch):
    monkeypatch.setattr("eds_xr.factorisation.ambiguity.evidence.SCORE_ERROR", 0.0)
    pulls = []
    for seed in range(10):
        counts = drawn(3, purest=0.95, counts=1000, seed=seed)
        scores, noise, *_ = at_truth(gathered(counts, spectra(3), net_weights(), NONE))
        true = 1000 * shares(3, 0.95, seed).reshape(-1, 3)
        pulls.append((scores[:256] - true) / noise[:256])
    assert SCORE_ERROR > 0
    np.testing.assert_allclose(np.mean(pulls, axis=(0, 1)), 0, atol=0.1)
    np.testing.assert_allclose(np.std(pulls, axis=(0, 1)), 1, atol=0.08)


def test_gathered__spectra_scatter_about_the_truth_as_they_say(monkeypatch):
    monkeypatch.setattr("eds_xr.factorisation.ambiguity.evidence.SPECTRUM_ERROR", 0.0)
    pulls = []
    for seed in range(30):
        counts = drawn(3, purest=0.95, counts=1000, seed=seed)
        found = gathered(counts, spectra(3), net_weights(), NONE)
        _, _, limits, noise = at_truth(found)
        net = spectra(3) @ net_weights().T
        pulls.append((limits[-4:] - net.T) / noise[-4:])
    assert SPECTRUM_ERROR > 0
    np.testing.assert_allclose(np.mean(pulls), 0, atol=0.15)
    assert 0.6 < np.std(pulls) < 1.1  # part of the error is a mixing, which the truth undoes


def test_gathered__sums_over_neighbours_are_conditions_too():
    counts = drawn(3)
    found = gathered(counts, spectra(3), net_weights(), NONE)
    rows = found.bins.rows
    assert len(rows) == 256 + 64 + 16
    np.testing.assert_allclose(rows[256], rows[[0, 1, 16, 17]].sum(0))


def test_gathered__bins_without_counts_say_nothing():
    counts = drawn(3)
    counts[:8] = 0
    assert len(gathered(counts, spectra(3), net_weights(), NONE).bins.rows) == 128 + 32 + 8


def test_gathered__groups_hold_each_channel_once():
    found = gathered(drawn(3), spectra(3), net_weights(), NONE)
    in_groups = found.limits.rows[: len(found.groups)].sum(0)
    np.testing.assert_allclose(in_groups, found.spectra.sum(1))
    assert found.applies.all()


def test_gathered__absent_lines_bear_on_their_component_alone():
    none = NONE.copy()
    none[2, 0] = True
    found = gathered(drawn(3), spectra(3), net_weights(), none)
    assert len(found.limits.rows) == len(found.groups) + 5
    np.testing.assert_array_equal(found.applies[-1], [True, False, False])
    np.testing.assert_allclose(found.limits.rows[-1], -found.values[2])
