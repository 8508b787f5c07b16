"""Computed factors: the beam, the detector, their uncertainty."""

import numpy as np
import pytest

from eds_xr import k_factors as kf
from eds_xr.schema import EdsError
from eds_xr.xray.lines import EMISSION_UNCERTAINTY


def test_standardless_k_factors__follow_the_beam():
    low, high = (
        kf.standardless_k_factors(["Si_Ka", "Cu_Ka"], beam_energy_kev=e).k.sel(line="Cu_Ka")
        for e in (20, 200)
    )
    assert low > 1.1 * high  # near its threshold copper is excited less
    with pytest.raises(EdsError, match="Cu_Ka is not emitted at a beam energy of 5 keV"):
        kf.standardless_k_factors(["Si_Ka", "Cu_Ka"], beam_energy_kev=5)


def test_standardless_k_factors__state_their_uncertainty():
    names = ["Si_Ka", "Fe_Ka", "Nd_La", "U_Ma", "O_Ka"]
    table = kf.standardless_k_factors(names, beam_energy_kev=200)
    relative = (table.standard_deviation / table.k).values
    least = [EMISSION_UNCERTAINTY[n.split("_")[1][0]] for n in names]
    assert (relative >= least).all()
    np.testing.assert_allclose(relative[:4], least[:4], rtol=0.02)
    assert relative[4] > 1.04 * least[4]  # the detector's layers take a share of soft X-rays
    assert table.attrs["standardless"] == 1
    assert table.k.sel(line="Si_Ka") == 1


def test_standardless_k_factors__see_the_detector():
    names = ["Si_Ka", "O_Ka"]
    bare = kf.standardless_k_factors(names, beam_energy_kev=200)
    behind = kf.standardless_k_factors(names, beam_energy_kev=200, window_nm=300)
    assert behind.k.sel(line="O_Ka") > 1.3 * bare.k.sel(line="O_Ka")
    with pytest.raises(EdsError, match="no property colour of a detector; there are dead_layer_nm"):
        kf.standardless_k_factors(names, beam_energy_kev=200, colour=1.0)
    with pytest.raises(EdsError, match="found \\['Si_Ka', 'Si_Ka'\\]"):
        kf.standardless_k_factors(["Si_Ka", "Si_Ka"], beam_energy_kev=200)
    with pytest.raises(EdsError, match="solid_angle_sr must lie between 0 and 4 pi"):
        kf.standardless_cross_sections(names, solid_angle_sr=0, beam_energy_kev=200)


def test_standardless_cross_sections__say_the_same_as_k_factors():
    """``k_i / k_j = M_i sigma_j / (M_j sigma_i)``, and twice the solid angle counts twice."""
    names = ["Si_Ka", "Fe_Ka", "Nd_La"]
    one, two = (
        kf.standardless_cross_sections(names, solid_angle_sr=s, beam_energy_kev=200)
        for s in (0.5, 1.0)
    )
    np.testing.assert_allclose(two.cross_section, 2 * one.cross_section)
    k = kf.k_factors_from_zeta(kf.zeta_from_cross_sections(one), "Si_Ka")
    np.testing.assert_allclose(
        k.k, kf.standardless_k_factors(names, beam_energy_kev=200).k, rtol=1e-6
    )
    assert one.attrs["standardless"] == 1
