"""Spectra of phases that only NMF tells."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support.drawn_spectra import ENERGY_KEV

from eds_xr import simulate
from eds_xr.analysis.any_sample.from_components import IMPURITY, with_components, with_impurity
from eds_xr.spectra.line_fits.fit_lines import fit_lines

NAMES = ["iron", "silicon"]


def _found(at_best: float = 0.0) -> Any:
    """Return iron in half of the image, silicon everywhere, 100 counts of each in a pixel.

    But in some of the iron, where silicon has fewer.
    """
    phases = [simulate.Phase("iron", {"Fe": 1}), simulate.Phase("silicon", {"Si": 1})]
    loadings = simulate.phase_spectra(phases, ENERGY_KEV).loadings.rename(phase="component")
    present = np.ones((2, 10, 20), bool)
    present[0, :, 10:] = False
    held = np.where(present, 100.0, 0.0)
    held[1, :6, :6] = at_best  # of silicon, to 100 of iron
    amounts = xr.DataArray(held, {"phase": NAMES}, ("phase", "y", "x"))
    segmentation = xr.Dataset({"present": (amounts.dims, present)}, {"phase": NAMES})
    total = xr.Dataset(attrs={"beam_energy_kev": 200.0})
    return SimpleNamespace(
        segmentation=segmentation, amounts=amounts, factors=xr.Dataset({"loadings": loadings}),
        total=total,
    )  # fmt: skip


def test_with_components__a_loading_times_its_counts() -> None:
    found = _found()
    pure = with_components(None, found, ["iron"])
    shape = found.factors.loadings.sel(component="iron", drop=True)
    np.testing.assert_allclose(pure.counts.sel(phase="iron"), 1e4 * shape)
    # about two thirds as many counts are silicon's
    np.testing.assert_allclose(pure.variance, 1.64 * pure.counts)
    assert pure.attrs["beam_energy_kev"] == 200.0
    both = with_components(pure, found, ["silicon"])
    assert both.phase.values.tolist() == NAMES
    assert both.way.values.tolist() == ["NMF component"] * 2


def test_with_components__half_of_what_others_have_where_it_is_richest_may_be_its_own() -> None:
    found = _found(at_best=20.0)
    pure = with_components(None, found, ["iron"]).sel(phase="iron")
    iron, silicon = (found.factors.loadings.sel(component=n, drop=True) for n in NAMES)
    np.testing.assert_allclose(pure.counts, 1e4 * (iron + 0.1 * silicon), rtol=0.02, atol=1e-3)
    assert float(pure.scale_variance) == pytest.approx(IMPURITY**2 + 0.2**2 / 12, rel=0.05)
    np.testing.assert_allclose(pure.scale_slope, 1e4 * silicon)


def test_with_impurity__what_lies_about_it_may_be_in_it() -> None:
    pure = with_components(None, _found(), NAMES)
    lines = fit_lines(pure, ["Fe", "Si"], stray=["Cu", "Ga"])
    found = with_impurity(lines, pure, lines)
    iron = (found.variance - lines.variance).sel(phase="iron")
    net = float(lines.net.sel(phase="silicon", line="Si_Ka")) * 1e4 / 1.64e4
    assert float(iron.sel(line="Si_Ka")) ** 0.5 == pytest.approx(IMPURITY * net, rel=0.02)
    assert float(iron.sel(line="Fe_Ka")) ** 0.5 < 0.01 * IMPURITY * net
    np.testing.assert_allclose(found.effect_covariance.sum("effect"), found.covariance)
