import numpy as np
import pytest
import xarray as xr
from support.independent.spectra import spectrum

import eds_xr
from eds_xr.analysis.mixing_intervals.net_functionals import net_functionals
from eds_xr.schema import EdsError

ATOMS = {"Mg": 1, "Al": 0.2, "Si": 1, "Ca": 0.3, "Fe": 0.2, "O": 4}
ELEMENTS = ["Mg", "Al", "Si", "Ca", "Fe", "Cu"]
RANGE = (0.7, 9.9)


@pytest.fixture(scope="module")
def olivine() -> tuple[xr.Dataset, xr.Dataset]:
    return spectrum(ATOMS, 3e6, seed=4)


def weights_of(spectra: xr.Dataset, asked: list[str]) -> xr.DataArray:
    total = spectra.counts.assign_attrs(spectra.attrs)
    return net_functionals(total, asked, ELEMENTS, RANGE).weights


def test_net_functionals__give_what_fit_lines_gives(olivine):
    spectra = olivine[0]
    nets = weights_of(spectra, ["Mg", "Si", "Fe_Ka"])
    fitted = eds_xr.fit_lines(spectra, ELEMENTS[:-1], stray=["Cu"], range_kev=RANGE)
    for name in ("Mg_Ka", "Si_Ka", "Fe_Ka"):
        net = float((nets.sel(line=name) * spectra.counts).sum())
        assert net == pytest.approx(float(fitted.net.sel(line=name)), rel=0.01)


def test_errors__are_those_of_fit_lines(olivine):
    spectra = olivine[0]
    total = spectra.counts.assign_attrs(spectra.attrs)
    nets = net_functionals(total, ["Mg", "Si", "Fe"], ELEMENTS, RANGE)
    errors = nets.errors(spectra.counts.values[None])[:3, :, 0]
    fitted = eds_xr.fit_lines(spectra, ELEMENTS[:-1], stray=["Cu"], range_kev=RANGE)
    lines = fitted.sel(line=["Mg_Ka", "Si_Ka", "Fe_Ka"])
    known = ["calibration", "line_weights"]
    theirs = lines.effect_covariance.sel(effect=known, line_other=lines.line.values).sum("effect")
    mine = np.sqrt((errors**2).sum(1))
    assert (mine > 0.8 * np.sqrt(np.diag(theirs.values))).all()
    assert (mine < 3 * np.sqrt(lines.variance.values)).all()
    double = nets.errors(2 * spectra.counts.values[None])[:3, :, 0]
    np.testing.assert_allclose(double, 2 * errors)


def test_net_functionals__tell_lines_apart_in_other_spectra_too(olivine):
    nets = weights_of(olivine[0], ["Mg", "Si"])
    other = spectrum({"Al": 1, "O": 1.5}, 1e6, seed=5)[0]  # no magnesium, no silicon
    aluminium = float((nets.sel(line="Al_Ka") * other.counts).sum())
    for name in ("Mg_Ka", "Si_Ka"):
        assert abs(float((nets.sel(line=name) * other.counts).sum())) < 0.01 * aluminium


def test_net_functionals__hold_a_line_of_each_family_those_asked_for_first(olivine):
    nets = weights_of(olivine[0], ["Si", "Fe_Kb", "Si"])
    names = nets.line.values.tolist()
    assert names[:3] == ["Si_Ka", "Fe_Kb", "Si_Ka"]
    assert set(names[3:]) == {"Mg_Ka", "Al_Ka", "Ca_Ka", "Cu_Ka", "Cu_La", "Fe_La"}
    outside = nets.where((nets.energy < RANGE[0]) | (nets.energy > RANGE[1]), drop=True)
    assert not outside.values.any()
    assert nets.sizes["energy"] == olivine[0].sizes["energy"]


def test_net_functionals__refuse(olivine):
    with pytest.raises(EdsError, match="Ti has no line"):
        weights_of(olivine[0], ["Ti"])
    with pytest.raises(EdsError, match="lies outside"):
        weights_of(olivine[0], ["O_Ka"])
    assert np.isfinite(weights_of(olivine[0], ["Mg"]).values).all()
