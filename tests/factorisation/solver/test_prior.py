"""Smooth and sparse score maps: the objective that is documented is what falls."""

import itertools

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize
from support.known import angles_deg, largest_change, matched, simulated

from eds_xr import simulate
from eds_xr.factorisation.nmf import nmf
from eds_xr.factorisation.one_read import read_once
from eds_xr.factorisation.solver.descent import descend
from eds_xr.factorisation.solver.loadings import unit_columns
from eds_xr.factorisation.solver.prior import SmoothSparse
from eds_xr.schema import EdsError

SHAPE = (5, 4)


def small() -> tuple[np.ndarray, np.ndarray]:
    """Counts [y, x, channel] and two spectra [channel, component]."""
    random = np.random.default_rng(3)
    spectra = unit_columns(random.gamma(0.5, size=(12, 2)))
    amounts = random.gamma(1.0, 20, size=(*SHAPE, 2))
    return random.poisson(amounts @ spectra.T).astype(np.uint8), spectra


def documented(
    maps: np.ndarray, counts: np.ndarray, spectra: np.ndarray, smooth: float, sparse: float,
    valid: np.ndarray,
) -> float:  # fmt: skip
    """Half the deviance (but for a constant) and the penalties, as :func:`nmf` documents them."""
    model = np.maximum(maps @ spectra.T.astype(float), 1e-30)
    value = (model - counts * np.log(model))[valid].sum()
    mean = counts[valid].sum() / valid.sum()
    for i, j in itertools.product(*(range(n) for n in SHAPE)):
        for other in ((i + 1, j), (i, j + 1)):
            if other[0] < SHAPE[0] and other[1] < SHAPE[1] and valid[i, j] and valid[other]:
                value += smooth / (2 * mean) * ((maps[i, j] - maps[other]) ** 2).sum()
    return value + sparse * np.log1p(maps[valid]).sum()


def shaped(counts, spectra, smooth, sparse, valid, chunk=(5, 4), steps=400) -> np.ndarray:
    image = xr.DataArray(counts, dims=("y", "x", "energy")).chunk(y=chunk[0], x=chunk[1])
    rows = read_once(image).full
    prior = SmoothSparse(smooth, sparse, rows.places, valid, counts[valid].sum() / valid.sum())
    stay = np.ones(2, bool)
    descend(rows, spectra, "poisson", tol=0, max_iter=steps, fixed=stay, prior=prior)
    assert prior.maps is not None
    return prior.maps.astype(float)


@pytest.mark.parametrize(("smooth", "sparse"), [(1.0, 0.0), (0.0, 0.5), (2.0, 0.3)])
def test_scores__are_at_a_minimum_of_the_documented_objective(smooth, sparse):
    counts, spectra = small()
    valid = np.ones(SHAPE, bool)
    maps = shaped(counts, spectra, smooth, sparse, valid)

    def objective(flat: np.ndarray) -> float:
        return documented(flat.reshape(*SHAPE, 2), counts, spectra, smooth, sparse, valid)

    found = minimize(
        objective, np.maximum(maps, 1e-3).ravel(), method="L-BFGS-B", bounds=[(0, None)] * maps.size
    )
    assert objective(maps.ravel()) <= found.fun + 1e-3 * abs(found.fun) * 1e-2


def test_scores__objective_falls_with_every_step():
    counts, spectra = small()
    valid = np.ones(SHAPE, bool)
    wanted = (3.0, 0.5, valid)
    values = [
        documented(shaped(counts, spectra, *wanted, steps=n), counts, spectra, *wanted)
        for n in (2, 4, 8, 16, 32)
    ]
    assert all(b <= a + 1e-3 for a, b in itertools.pairwise(values))
    assert values[-1] < values[0] - 1


def test_scores__do_not_depend_on_chunks():
    counts, spectra = small()
    valid = np.ones(SHAPE, bool)
    one, other = (
        shaped(counts, spectra, 1.0, 0.2, valid, chunk, steps=30) for chunk in [(5, 4), (2, 3)]
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_scores__pixels_outside_are_nobody_s_neighbours():
    counts, spectra = small()
    valid = np.ones(SHAPE, bool)
    valid[2] = False  # two halves that do not touch
    inside = np.where(valid[..., None], counts, 0)
    both = shaped(inside, spectra, 5.0, 0.0, valid)
    other = inside.copy()
    other[3:] = np.roll(other[3:], 1, axis=1)
    np.testing.assert_allclose(
        shaped(other, spectra, 5.0, 0.0, valid)[:2], both[:2], rtol=1e-3, atol=1e-3
    )


def rms(result: xr.Dataset, truth: xr.Dataset) -> np.ndarray:
    """Error of the score maps, phase by phase."""
    order = matched(angles_deg(result.loadings, truth.loadings))
    within = truth.loadings.sum("energy").values
    amounts = truth.expected.transpose(..., "phase") * within
    error = result.scores.values[..., order] - amounts.values
    return np.sqrt((error**2).mean((0, 1)))


@pytest.fixture(scope="module")
def faint() -> tuple[xr.DataArray, xr.Dataset]:
    return simulated(64, 20, seed=3)


@pytest.mark.parametrize("mixing", ["purest", "free"])
def test_nmf__smoothness_brings_maps_nearer_to_the_truth(faint, mixing):
    image, truth = faint
    plain = nmf(image, 3, mixing=mixing)
    smooth = nmf(image, 3, mixing=mixing, smoothness=1.0)
    assert (rms(smooth, truth)[0] < 0.6 * rms(plain, truth)[0]) or mixing == "free"
    assert float(smooth.scores.diff("x").std()) < 0.6 * float(plain.scores.diff("x").std())
    assert smooth.scores.chunks is not None


def test_nmf__sparsity_leaves_fewer_phases_in_a_pixel(faint):
    image, _ = faint
    plain, sparse = (nmf(image, 3, sparsity=s).scores for s in (0.0, 1.0))
    assert int((sparse > 0.5).sum()) < 0.85 * int((plain > 0.5).sum())


def test_nmf__smooth_scores_are_given_for_all_pixels_of_a_mask(faint):
    image, truth = faint
    mask = (truth.label > 0) & (image.x < image.x[40])
    scores = nmf(image, 3, mask=mask, smoothness=1.0).scores
    total = image.sum("energy").where(~mask, drop=True)
    found = scores.sum("component").where(~mask, drop=True)
    np.testing.assert_allclose(found.fillna(0), total.fillna(0), rtol=1e-3, atol=1e-3)


def test_nmf__smooth_result_does_not_depend_on_chunks(faint):
    image, _ = faint
    one, other = (
        nmf(image.chunk(y=c, x=c), 3, smoothness=0.5, sparsity=0.2).scores for c in (64, 23)
    )
    assert largest_change(other, one) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothness": -1.0}, "smoothness >= 0"),
        ({"sparsity": np.nan}, "sparsity >= 0"),
        ({"smoothness": 1.0, "loss": "frobenius"}, "go with loss='poisson'"),
    ],
)
def test_nmf__refuses_priors(options, message):
    image = simulate.spectrum_image((8, 8, 64), 100.0, seed=0)
    with pytest.raises(EdsError, match=message):
        nmf(image, 2, **options)
