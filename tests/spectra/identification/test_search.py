import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.spectra.identification.search import chance_of_noise


@given(st.floats(0, 500), st.floats(0, 100), st.integers(1, 3))
def test_chance_of_noise__falls_with_evidence_and_rises_with_families(gain, more, families):
    chance = chance_of_noise(np.array([gain, gain + more]), np.array([families, families]))
    wider = chance_of_noise(np.array([gain]), np.array([families + 1]))
    assert 0 <= chance[1] <= chance[0] <= min(1.0, wider[0] + 1e-12)


def test_chance_of_noise__of_one_family_is_one_sided():
    assert chance_of_noise(np.array([9.0]), np.array([1]))[0] == pytest.approx(0.0013499, rel=1e-4)
