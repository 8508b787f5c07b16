"""Which line pins a subtraction, and what is said of spectra that cannot be had."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import EdsError
from eds_xr.analysis.any_sample.pure_spectra import lines_of_an_overlap, pinned_line


def _lines(relative: float = 0.01, **net: float) -> xr.Dataset:
    values = np.array(list(net.values()))
    spread = (relative * np.maximum(values, 1.0)) ** 2
    names = {"line": [f"{e}_Ka" for e in net]}
    return xr.Dataset({"net": ("line", values), "variance": ("line", spread)}, names)


def test_pinned_line__the_one_that_the_phase_lacks() -> None:
    reference = _lines(Mg=100.0, Si=120.0, Al=10.0, Fe=20.0)
    mixture = _lines(Mg=160.0, Si=60.0, Al=6.0, Fe=30.0)
    assert pinned_line(mixture, reference) == "Si_Ka"


def test_pinned_line__not_one_whose_ratio_chance_may_have_lowered() -> None:
    reference = _lines(Mg=100.0, Si=120.0, Al=10.0)
    mixture = _lines(Mg=160.0, Si=60.0, Al=4.0)  # 0.4, but uncertain
    mixture["variance"].loc[{"line": "Al_Ka"}] = 1.5**2
    assert pinned_line(mixture, reference) == "Si_Ka"


def test_pinned_line__of_several_that_it_lacks_the_best_known() -> None:
    reference = _lines(Mg=100.0, Si=120.0, Ca=10.0)
    mixture = _lines(Mg=160.0, Si=60.0, Ca=4.9)
    mixture["variance"].loc[{"line": "Ca_Ka"}] = 0.2**2
    assert pinned_line(mixture, reference) == "Si_Ka"


def test_pinned_line__refuses_a_phase_that_holds_all_elements() -> None:
    reference, mixture = _lines(Mg=100.0, Si=120.0), _lines(Mg=120.0, Si=121.0)
    with pytest.raises(EdsError, match="no share can be taken out"):
        pinned_line(mixture, reference)


def test_pinned_line__refuses_a_reference_without_lines() -> None:
    with pytest.raises(EdsError, match="no line of what is to be subtracted"):
        pinned_line(_lines(Mg=10.0), _lines(1.0, Mg=10.0))


def test_lines_of_an_overlap__a_core_holds_its_shell_in_the_shells_proportions() -> None:
    shell = _lines(Zn=100.0, S=120.0, Cd=0.1)
    core = _lines(Zn=50.0, S=60.5, Cd=80.0)
    assert lines_of_an_overlap(core, shell) == ("Zn_Ka", "S_Ka")


def test_lines_of_an_overlap__none_where_a_phase_shares_elements_in_other_proportions() -> None:
    steel = _lines(Fe=100.0, Cr=30.0, Ni=10.0)
    assert lines_of_an_overlap(_lines(Fe=60.0, Cr=80.0, Ni=4.0), steel) == ()
    assert lines_of_an_overlap(_lines(Fe=0.1, Cr=80.0, Ni=0.01), steel) == ()  # none is over it
