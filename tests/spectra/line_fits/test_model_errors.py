import numpy as np
import pytest
import xarray as xr

from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.model_errors import add_variance, variation, with_model_variation

NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka"]


def lines_of(net, covariance=None, names=NAMES):
    net = np.asarray(net, float)
    covariance = np.diag(np.abs(net)) if covariance is None else np.asarray(covariance)
    lead = ("phase",) * (net.ndim - 1)
    data = {
        "net": ((*lead, "line"), net),
        "covariance": ((*lead, "line", "line_other"), covariance),
    }
    return xr.Dataset(data, {"line": names, "line_other": names})


def regions(scatter, seed=0, count=40):
    """Lines of regions of one phase: Fe / Si varies by `scatter`, Mg / Si does not."""
    random = np.random.default_rng(seed)
    si = np.full(count, 4e4)
    fe = si * 0.2 * (1 + scatter * random.normal(size=count))
    net = random.poisson(np.stack([0.5 * si, si, fe], axis=1)).astype(float)
    found = lines_of(net, covariance=np.stack([np.diag(n) for n in net]))
    return found.assign(variance=found.net)


def test_variation__finds_the_scatter_beyond_chance():
    found = variation(regions(0.1), per="Si_Ka")
    assert float(found.ratio.sel(line="Fe_Ka")) == pytest.approx(0.2, rel=0.05)
    assert float(found.variance.sel(line="Fe_Ka")) ** 0.5 == pytest.approx(0.02, rel=0.4)


def test_variation__is_nil_where_chance_explains_it():
    spread = [float(variation(regions(0, seed), per="Si_Ka").variance.max()) for seed in range(10)]
    assert np.mean(spread) < (0.005 * 0.5) ** 2
    assert float(variation(regions(0), per="Si_Ka").variance.sel(line="Si_Ka")) == 0


def test_variation__needs_regions_and_its_line():
    with pytest.raises(EdsError, match="at least two regions"):
        variation(regions(0, count=1), per="Si_Ka")
    with pytest.raises(EdsError, match="Ca_Ka was not fitted"):
        variation(regions(0), per="Ca_Ka")


def test_with_model_variation__adds_the_mean_square_of_the_differences():
    first = lines_of([100.0, 200.0, 50.0])
    first = first.assign(variance=first.net)
    others = [lines_of([100.0 + d, 200.0, 50.0]) for d in (-6.0, 8.0)]
    found = with_model_variation(first, others)
    np.testing.assert_allclose(found.model_variance, [50, 0, 0])
    np.testing.assert_allclose(found.variance, [150, 200, 50])
    np.testing.assert_allclose(np.diag(found.covariance), [150, 200, 50])
    np.testing.assert_allclose(found.net, first.net)


def test_with_model_variation__needs_the_same_lines():
    first = lines_of([100.0, 200.0, 50.0])
    first = first.assign(variance=first.net)
    with pytest.raises(EdsError, match="at least one other fit"):
        with_model_variation(first, [])
    with pytest.raises(EdsError, match="lacks Fe_Ka"):
        with_model_variation(first, [lines_of([1.0, 2.0], names=NAMES[:2])])


def test_add_variance__leaves_covariances_between_lines():
    first = lines_of([100.0, 200.0, 50.0], np.diag([100.0, 200, 50]) + 7)
    first = first.assign(variance=("line", np.diagonal(first.covariance.values)))
    parts = first.covariance.expand_dims(effect=["counting"])
    added = xr.DataArray([1.0, 2, 3], {"line": NAMES}, ("line",))
    found = add_variance(first.assign(effect_covariance=parts), added, "matrix")
    np.testing.assert_allclose(found.covariance - first.covariance, np.diag([1.0, 2, 3]))
    np.testing.assert_allclose(found.variance, np.diag(found.covariance))
    by_effect = found.effect_covariance
    assert by_effect["effect"].values.tolist() == ["counting", "matrix"]
    np.testing.assert_allclose(by_effect.sel(effect="matrix"), np.diag([1.0, 2, 3]))
    np.testing.assert_allclose(by_effect.sum("effect"), found.covariance)


def test_with_model_variation__of_other_spectra_is_an_error():
    net = xr.DataArray([[5.0], [6.0]], {"phase": ["a", "b"], "line": ["Fe_Ka"]})
    lines = xr.Dataset({"net": net, "variance": net})
    lines = lines.assign(covariance=lines.net.expand_dims(line_other=["Fe_Ka"]))
    with pytest.raises(EdsError, match="the same spectra along 'phase'"):
        with_model_variation(lines, [lines.sel(phase=["a"])])
    with pytest.raises(EdsError, match="expected lines from fit_lines"):
        with_model_variation(lines.net, [lines])
