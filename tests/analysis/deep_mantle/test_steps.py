"""Steps of the study on small images with a known truth."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import simulate
from eds_xr.analysis.deep_mantle import steps
from eds_xr.schema import EdsError


def test_choosing_channels__leaves_out_what_is_quantified():
    image = simulate.spectrum_image((8, 8, 1300), 180.0)
    part = steps.choosing_channels(image)
    assert float(part.energy.max()) < 4.41
    assert int(part.sel(energy=slice(3.12, 3.2)).sum()) == 0
    assert part.dtype == image.dtype


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_which_phases__by_their_lines_in_any_order(order):
    loadings = simulate.truth((8, 8, 1300), 180.0).loadings
    known = loadings.phase.values[list(order)].tolist()
    shuffled = loadings.isel(phase=list(order)).rename(phase="component").drop_vars("component")
    assert steps.which_phases(shuffled, steps.PHASES) == known


def test_window_sum__holds_the_whole_line_and_no_other():
    energy = np.arange(0.005, 4.0, 0.01)
    peak = 100 * np.exp(-0.5 * ((energy - 1.254) / 0.03) ** 2)
    spectrum = xr.DataArray(peak, {"energy": energy}, ("energy",))
    assert steps.window_sum(spectrum, "Mg_Ka") == pytest.approx(peak.sum(), rel=0.1)
    assert steps.window_sum(spectrum, "Si_Ka") == pytest.approx(0, abs=1e-6)


def _scores(fp, ca):
    """Return scores of 40 x 40 pixels of the matrix with squares of grains, and where each is."""
    shape, rng = (40, 40), np.random.default_rng(0)
    maps = np.stack([np.full(shape, 150.0), np.zeros(shape), np.zeros(shape)])
    maps[1][fp], maps[2][ca] = 80.0, 80.0
    noise = rng.normal(0, 2, maps.shape)
    dims = ("component", "y", "x")
    scores = xr.DataArray(maps + noise, {"component": list(steps.PHASES)}, dims)
    present = np.stack([np.ones(shape, bool), maps[1] > 0, maps[2] > 0])
    rotated = xr.Dataset({"scores": scores.transpose("y", "x", "component")})
    return rotated, xr.Dataset(
        {"present": (("phase", "y", "x"), present)}, {"phase": list(steps.PHASES)}
    )


def test_find_masks__grains_mixtures_and_what_overlaps():
    fp, ca = np.s_[2:12, 2:12], np.s_[8:20, 8:20]
    found = steps.find_masks(*_scores(fp, ca))
    masks = {str(m.phase.values): m.values for m in found}
    overlap = np.zeros((40, 40), bool)
    overlap[8:12, 8:12] = True
    assert masks["intersection"][overlap].all()
    np.testing.assert_array_equal(masks["intersection"], masks["Fp"] & masks["Ca-Pv"])
    for grain, place in (("Fp", fp), ("Ca-Pv", ca)):
        other = "Ca-Pv" if grain == "Fp" else "Fp"
        assert masks[grain][place].all()
        near = np.s_[max(place[0].start - 4, 0) : place[0].stop + 4]
        assert masks[grain][near, near].sum() == masks[grain].sum()  # scores are smoothed
        assert masks[f"{grain}+Brg"].any()
        assert not (masks[f"{grain}+Brg"] & masks[other]).any()
        assert not (masks[f"{grain}+Brg"] & ~masks[grain]).any()
    assert not (masks["Brg"] & (masks["Fp"] | masks["Ca-Pv"])).any()
    rectangle = masks["rectangle"]
    assert (rectangle & masks["Brg"]).sum() > 0.9 * rectangle.sum() > 0


def test_find_masks__without_a_pure_matrix():
    rotated, segmentation = _scores(np.s_[:4, :4], np.s_[5:9, 5:9])
    segmentation["present"] = ~segmentation.present & segmentation.present
    with pytest.raises(EdsError, match="no pixel of pure Brg was found"):
        steps.find_masks(rotated, segmentation)
