"""What a simulation is made of."""

import dataclasses

import numpy as np
import pytest

from eds_xr.samples.phases import (
    PYROLITE_71GPA,
    TEM_200_KV,
    Phase,
    check_phases,
    phase_spectrum,
    without,
)
from eds_xr.schema import EdsError

ENERGY = -0.2 + 0.01 * np.arange(1024)
BARE = dataclasses.replace(TEM_200_KV, background=0.0, stray={})


def test_phase_spectrum__does_not_depend_on_the_total_of_atoms():
    one = phase_spectrum(Phase("a", {"Si": 1, "O": 2}), ENERGY, TEM_200_KV)
    many = phase_spectrum(Phase("b", {"Si": 100, "O": 200}), ENERGY, TEM_200_KV)
    np.testing.assert_allclose(one, many, rtol=1e-12)
    assert one.sum() == pytest.approx(1)
    assert (one >= 0).all()


def test_phase_spectrum__share_of_the_background_is_what_was_asked():
    phase = Phase("a", {"Si": 1})
    spectrum = phase_spectrum(phase, ENERGY, dataclasses.replace(BARE, background=0.3))
    empty = (ENERGY > 4) & (ENERGY < 8)  # no lines of silicon
    assert phase_spectrum(phase, ENERGY, BARE)[empty].sum() < 1e-6
    only = phase_spectrum(phase, ENERGY, dataclasses.replace(BARE, background=1 - 1e-9))
    assert spectrum[empty].sum() == pytest.approx(0.3 * only[empty].sum(), rel=1e-5)


def test_phase_spectrum__stray_elements_have_their_share_of_the_peaks():
    phase = Phase("a", {"Si": 1})
    spectrum = phase_spectrum(phase, ENERGY, dataclasses.replace(BARE, stray={"Cu": 0.25}))
    silicon = phase_spectrum(phase, ENERGY, BARE)
    copper = phase_spectrum(Phase("b", {"Cu": 1}), ENERGY, BARE)
    np.testing.assert_allclose(spectrum, 0.75 * silicon + 0.25 * copper, atol=1e-12)


def test_phase_spectrum__refuses_what_gives_no_counts():
    with pytest.raises(EdsError, match=r"Fe \(in phase 'a'\) gives no X-rays between"):
        phase_spectrum(Phase("a", {"Fe": 1}), np.linspace(2, 3, 100), BARE)
    with pytest.raises(EdsError, match="gives no X-rays"):
        phase_spectrum(Phase("a", {"H": 1}), ENERGY, BARE)


def test_without__leaves_all_else_as_it_was():
    found = without(PYROLITE_71GPA, "Nd", "Sm", "Fe")
    for before, after in zip(PYROLITE_71GPA, found, strict=True):
        assert not {"Nd", "Sm", "Fe"} & set(after.atoms)
        kept = {e: n for e, n in before.atoms.items() if e not in ("Nd", "Sm", "Fe")}
        assert dataclasses.replace(before, atoms=kept) == after


def test_check_phases__names_differ_and_grains_of_the_matrix_do_not_matter():
    matrix = Phase("a", {"Si": 1}, area_fraction=7, size_nm=(0, 0))
    check_phases([matrix])
    with pytest.raises(EdsError, match="phases need different names"):
        check_phases([matrix, Phase("a", {"Fe": 1})])
    with pytest.raises(EdsError, match="phase 'b': size_nm must be"):
        check_phases([matrix, dataclasses.replace(matrix, name="b")])
