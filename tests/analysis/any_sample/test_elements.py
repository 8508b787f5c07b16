"""Elements of the sample, stray ones, majors and traces."""

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample.elements import sorted_elements
from eds_xr.analysis.recipe import ElementChoice


def _lines(**net: tuple[float, ...]) -> xr.Dataset:
    values = np.array(list(net.values())).T
    coords = {"line": [f"{e}_Ka" for e in net], "element": ("line", list(net))}
    dims = ("phase", "line")
    return xr.Dataset({"net": (dims, values), "variance": (dims, values + 1.0)}, coords)


LINES = _lines(
    Fe=(9e5, 2e4), Cr=(2e5, 2e5), C=(100.0, 2e4), Mo=(1e3, 4e4), Cu=(6e4, 1e4), Mn=(9e3, 2e3)
)
COUNTS = xr.DataArray([2.4e6, 6e5], dims="phase")


def test_sorted_elements__untold_a_strong_or_differing_one_is_of_the_sample() -> None:
    found = sorted_elements("Fe Cr C Mo Cu Mn".split(), LINES, COUNTS, ElementChoice(), ())
    assert found.sample == ("Fe", "Cr", "C", "Mo", "Mn")
    assert found.stray == ("Cu",)  # as strong everywhere
    assert "Cu: found, perhaps from grid" in found.notes[0]
    assert found.majors == ("Fe", "Cr", "Mo")  # a tenth of the counts of a phase
    assert found.traces == ["C", "Mn"]


def test_sorted_elements__what_the_file_lists_is_of_the_sample_the_rest_is_stray() -> None:
    found = sorted_elements(["Fe", "Cr", "Mo"], LINES, COUNTS, ElementChoice(), ("Fe", "Cr", "V"))
    assert found.sample == ("Fe", "Cr", "V")
    assert found.stray == ("Mo",)
    assert any("V: named by the file, not found" in note for note in found.notes)


def test_sorted_elements__the_recipe_holds() -> None:
    choice = ElementChoice(sample=("Fe",), stray=("Cr",), majors=("Fe",))
    found = sorted_elements(["Fe", "Cr", "Mo"], LINES, COUNTS, choice, ("Mo",))
    assert (found.sample, found.stray, found.majors) == (("Fe",), ("Cr",), ("Fe",))
