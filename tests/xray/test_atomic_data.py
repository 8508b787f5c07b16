import pytest

from eds_xr.schema import EdsError
from eds_xr.xray import lines as xray_lines


@pytest.mark.parametrize(
    ("element", "edge", "beam", "distorted_wave_m2"),
    [
        # Bote & Salvat, Phys. Rev. A 77 (2008) 042701
        ("O", "K", 200, 7.55e-25),
        ("Si", "K", 80, 2.86e-25),
        ("Si", "K", 200, 1.75e-25),
        ("Fe", "K", 300, 2.78e-26),
        ("Nd", "L1", 200, 2.58e-26),
        ("Nd", "L3", 200, 7.75e-26),
        ("Hf", "L3", 80, 6.60e-26),
        ("Pt", "M4", 200, 3.51e-25),
        ("U", "M5", 200, 2.80e-25),
    ],
)
def test_ionisation_cross_section_m2__meets_distorted_wave(element, edge, beam, distorted_wave_m2):
    found = xray_lines.ionisation_cross_section_m2(element, edge, beam)
    assert found == pytest.approx(distorted_wave_m2, rel=0.08)


def test_ionisation_cross_section_m2__threshold_and_errors():
    assert xray_lines.ionisation_cross_section_m2("Fe", "K", 7.1) == 0
    with pytest.raises(EdsError, match="Mg has no edge 'M5'; it has K, L1, L2, L3"):
        xray_lines.ionisation_cross_section_m2("Mg", "M5", 200)
