import numpy as np
import pytest
import xarray as xr

from eds_xr.app.explorer.peaks import lines_of, peak_at

ENERGY = np.arange(0.2, 12, 0.01)


def spectrum(*peaks: float) -> xr.DataArray:
    values = 5 + sum(900 * np.exp(-0.5 * ((ENERGY - e) / 0.06) ** 2) for e in peaks)
    coords = {"energy": ("energy", ENERGY, {"units": "keV"})}
    attrs = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 130.0}
    return xr.DataArray(values, coords, ("energy",), attrs=attrs)


def test_peak_at__its_top_and_width() -> None:
    peak = peak_at(spectrum(6.40), 6.36, ["Fe"])
    assert peak.energy == pytest.approx(6.40, abs=0.011)
    assert peak.line == "Fe_Ka"
    assert peak.high - peak.low == pytest.approx(2 * 0.137, abs=0.02)


def test_peak_at__the_nearest_line_of_known_elements() -> None:
    both = spectrum(5.63)  # Sm La 5.636, Nd Lb1 5.721
    assert peak_at(both, 5.63, ["Nd", "Sm"]).line == "Sm_La"
    assert peak_at(both, 5.63, ["Fe"]).line == ""


def test_peak_at__names_what_else_it_might_be() -> None:
    peak = peak_at(spectrum(5.414), 5.414, ["Fe"])
    assert peak.line == ""
    assert peak.others[0] == "Cr_Ka"


def test_peak_at__the_end_of_the_axis() -> None:
    peak = peak_at(spectrum(), 11.99, [])
    assert peak.low < peak.high <= ENERGY[-1]
    far = peak_at(spectrum(), 30.0, [])
    assert far.high == pytest.approx(ENERGY[-1])


def test_lines_of__those_on_the_axis_strongest_first() -> None:
    found = lines_of("Cu", spectrum())
    names = [x.name for x in found]
    assert {"Cu_Ka", "Cu_Kb", "Cu_La"} <= set(names)
    assert names.index("Cu_Ka") < names.index("Cu_Kb")
    assert all(ENERGY[0] < x.energy_kev < ENERGY[-1] for x in found)
