import numpy as np
import pytest
from support.drawn_mixtures import drawn, evidence, net_weights, spectra

from eds_xr.factorisation.ambiguity.evidence import gathered
from eds_xr.factorisation.ambiguity.intervals import share_error, share_intervals

PAIRS = [(0, 1), (2, 1)]


def true_shares(phases: int) -> np.ndarray:
    net = spectra(phases) @ net_weights().T
    shares = np.stack([net[:, a] / (net[:, a] + net[:, b]) for a, b in PAIRS], axis=1)
    return shares.clip(0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("purest", [0.7, 0.95])
def test_share_intervals__hold_the_truth(purest):
    held = []
    for seed in range(2):
        found = share_intervals(evidence(3, purest=purest, seed=seed), PAIRS)
        inside = (found.low <= true_shares(3)) & (true_shares(3) <= found.high)
        held.append(inside)
    assert np.mean(held) >= 0.95


@pytest.mark.slow
def test_share_intervals__are_wider_where_nothing_is_pure():
    wide, narrow = (share_intervals(evidence(3, purest=p, counts=2e4), PAIRS) for p in (0.55, 0.98))
    assert np.median(wide.high - wide.low) > 1.5 * np.median(narrow.high - narrow.low)


@pytest.mark.slow
def test_share_intervals__counts_narrow_them_to_what_mixing_leaves():
    widths = [
        np.median(found.high - found.low)
        for counts in (1e3, 1e5, 1e6)
        for found in [share_intervals(evidence(3, purest=0.7, counts=counts), PAIRS)]
    ]
    assert widths[0] > widths[1] > widths[2] > 0.3 * widths[1]


@pytest.mark.slow
def test_share_intervals__absent_lines_narrow_them():
    counts, weights = drawn(3, purest=0.6, counts=2e4), net_weights()
    none = np.zeros((4, 3), bool)
    free = share_intervals(gathered(counts, spectra(3), weights, none), PAIRS)
    none[2, 0] = True  # the first phase holds none of the third element
    known = share_intervals(gathered(counts, spectra(3), weights, none), PAIRS)
    assert known.high[0, 1] < 0.7 * free.high[0, 1]
    assert (known.high - known.low <= free.high - free.low + 2e-3).all()
    assert (known.low[0] <= true_shares(3)[0]).all()
    assert (true_shares(3)[0] <= known.high[0]).all()


def test_share_intervals__of_nothing_are_all():
    found = share_intervals(evidence(2), [(3, 3), (0, 1)])  # neither phase has the fourth line
    assert found.low[1, 0] == 0
    assert found.high[1, 0] == 1
    assert found.low_by[1, 0] == -1
    assert found.high[0, 1] - found.low[0, 1] < 0.2


def test_share_error__is_the_scatter_of_the_share(monkeypatch):
    monkeypatch.setattr("eds_xr.factorisation.ambiguity.evidence.SPECTRUM_ERROR", 0.0)
    shares, errors = [], []
    for seed in range(100):
        found = evidence(2, purest=0.99, seed=seed, counts=2000)
        truth = np.linalg.lstsq(found.spectra.T, spectra(2).T, rcond=None)[0].T
        row = found.values @ truth[0]
        shares.append(row[0] / (row[0] + row[1]))
        errors.append(share_error(found, 0, (0, 1), truth))
    assert 0.9 < np.mean(errors) / np.std(shares) < 1.6  # part of the error is a mixing, too
