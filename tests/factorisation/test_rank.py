import numpy as np
import pytest
import xarray as xr
from support.known import IRON, LIGHT, PHASES, SILICA, TRACE, ZIRCONIA, simulated

from eds_xr import store
from eds_xr.factorisation.rank import suggest_rank
from eds_xr.schema import EdsError


@pytest.fixture(scope="module")
def real_71gpa(published_71gpa) -> xr.DataArray:
    return store.open(published_71gpa).compute()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phases", "dose"),
    [
        (PHASES[:1], 400),
        (PHASES[:2], 100),
        (PHASES[::2], 100),
        (PHASES, 100),
        (PHASES, 400),
        (PHASES, 20),
        ((*PHASES, SILICA), 180),
        ((*PHASES, SILICA, IRON), 400),
        ((*PHASES[:2], TRACE), 180),
        ((*PHASES, SILICA), 60),
    ],
)
def test_suggest_rank__counts_the_phases(phases, dose):
    image, _ = simulated(96, dose, seed=5, phases=phases)
    assert suggest_rank(image).attrs["suggested"] == len(phases)


def test_suggest_rank__noise_stays_below_the_edge():
    energy = np.arange(200.0)
    rates = np.random.default_rng(1).gamma(1.0, 0.3, 200)
    counts = np.random.default_rng(2).poisson(rates, (64, 64, 200)).astype(np.uint8)
    rank = suggest_rank(xr.DataArray(counts, {"energy": energy}, ("y", "x", "energy")))
    assert rank.attrs["suggested"] == 1
    assert rank.eigenvalue[1] < 1.05


def test_suggest_rank__is_the_same_for_any_chunks(spectrum_image, eager_image):
    xr.testing.assert_identical(suggest_rank(spectrum_image), suggest_rank(eager_image))


def test_suggest_rank__does_not_depend_on_how_many_are_shown(eager_image):
    few, many = suggest_rank(eager_image, max_rank=1), suggest_rank(eager_image)
    assert few.sizes["component"] == 1
    assert few.attrs == many.attrs


@pytest.mark.slow
@pytest.mark.parametrize("dose", [20, 400])
def test_suggest_rank__counts_six_phases(dose):
    image, _ = simulated(192, dose, seed=12, phases=(*PHASES, SILICA, IRON, ZIRCONIA))
    assert suggest_rank(image).attrs["suggested"] == 6


def test_suggest_rank__held_out_counts_tell_structure_from_noise(eager_image):
    rank = suggest_rank(eager_image)
    gain, error = rank.gain[1:], rank.gain_error[1:]
    np.testing.assert_allclose(rank.held_out, rank.gain.cumsum())
    assert rank.held_out[0] == 0
    assert gain[0] > 10 * error[0]
    assert (gain[1:] <= 3 * error[1:]).all()


@pytest.mark.parametrize(("contrast", "suggested"), [(0.015, 1), (0.03, 2)])
def test_suggest_rank__what_has_no_inertia_of_a_phase_is_possible(contrast, suggested):
    # half of the image is a little richer in half of the channels: no noise, and no phase
    random = np.random.default_rng(0)
    there, peak = random.choice([-1, 1], size=(40, 50, 1)), random.choice([-1, 1], size=40)
    counts = random.poisson(100 * (1 + contrast * there * peak)).astype(np.uint8)
    rank = suggest_rank(xr.DataArray(counts, {"energy": np.arange(40.0)}, ("y", "x", "energy")))
    assert (rank.attrs["suggested"], rank.attrs["possible"]) == (suggested, 2)
    np.testing.assert_allclose(rank.inertia[1:3], [contrast**2, 0], rtol=0.1, atol=1e-4)


def test_suggest_rank__seed_repeats_and_splits_anew(eager_image):
    first, again, other = (suggest_rank(eager_image, seed=s) for s in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert not other.held_out.equals(first.held_out)
    xr.testing.assert_identical(other.eigenvalue, first.eigenvalue)


@pytest.mark.parametrize("shape", [(1, 1), (1, 15), (12, 1)])
def test_suggest_rank__of_few_pixels(eager_image, shape):
    rank = suggest_rank(eager_image[: shape[0], : shape[1]])
    assert rank.attrs["suggested"] >= 1
    assert np.isfinite(rank.held_out).all()


def test_suggest_rank__refuses(eager_image):
    with pytest.raises(EdsError, match="max_rank >= 1"):
        suggest_rank(eager_image, max_rank=0)
    with pytest.raises(EdsError, match="no counts"):
        suggest_rank(eager_image * 0)


# -- the published maps -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("kev", [LIGHT, slice(None)])
def test_suggest_rank__is_clear_on_the_71gpa_map(real_71gpa, kev):
    rank = suggest_rank(real_71gpa.sel(energy=kev))
    assert (rank.attrs["suggested"], rank.attrs["possible"]) == (3, 4)  # the needle
    assert rank.attrs["clear"]
    assert rank.eigenvalue[2] / rank.eigenvalue[3] >= 10


@pytest.mark.network
def test_suggest_rank__is_not_a_clear_3_on_the_88gpa_map(sample, tmp_path):
    image = store.open(store.convert(sample("88GPa"), tmp_path / "88GPa.zarr"))
    rank = suggest_rank(image.sel(energy=LIGHT))
    assert not (rank.attrs["suggested"] == 3 and rank.attrs["clear"])
