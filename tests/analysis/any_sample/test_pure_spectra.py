"""Which line pins a subtraction, and what is said of spectra that cannot be had."""

from functools import partial

import numpy as np
import pytest
import xarray as xr
from support.drawn_spectra import ENERGY_KEV, drawn

from eds_xr import EdsError, simulate
from eds_xr.analysis.any_sample.elements import Elements
from eds_xr.analysis.any_sample.line_fit import LineFit
from eds_xr.analysis.any_sample.pure_spectra import (
    PureSpectra,
    lines_of_an_overlap,
    pinned_line,
    shows_nothing_of,
)
from eds_xr.analysis.any_sample.regions import Source
from eds_xr.analysis.recipe import FitChoice


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


def test_shows_nothing_of__a_line_of_the_other_that_is_not_there() -> None:
    halide = _lines(Pb=30.0, Br=20.0, Ti=1e-3)
    titania = _lines(Ti=70.0, Pb=1e-3)
    assert shows_nothing_of(halide, titania.reindex(line=halide.line, fill_value=0.0), 0.02)
    olivines = _lines(Mg=30.0, Si=30.0, Fe=3.0), _lines(Mg=27.0, Si=30.0, Fe=6.0)
    assert not shows_nothing_of(*olivines, 0.02)
    assert not shows_nothing_of(halide, _lines(1.0, Pb=1.0, Br=1.0, Ti=1.0), 0.02)  # no line


def _made(
    sums: dict[str, xr.Dataset], elements: list[str], source: Source, hosts: dict[str, str],
    held: dict[str, dict[str, float]] | None = None, over: dict[str, str] | None = None,
) -> PureSpectra:  # fmt: skip
    """Return the spectra of a source, and of the region of its reference, from sums by region."""
    names = xr.DataArray(list(sums), dims="phase", name="phase")
    spectra = xr.concat(sums.values(), dim=names)
    chosen = Elements(tuple(elements), (), tuple(elements), ())
    line_fit = LineFit(chosen, FitChoice(range_kev=(0.7, 10.0)), spectra.energy)
    calibration = line_fit.calibrate(spectra)
    fit = partial(line_fit.fit, calibration=calibration)
    made = PureSpectra(spectra, fit(spectra), fit, {}, hosts, over or {}, elements, held or {})
    made.make([Source(source.reference, source.reference), source])
    return made


def _sum(rng: np.random.Generator, pixels: int, **counts: float) -> xr.Dataset:
    """Return a spectrum of elements, so many counts a pixel of each."""
    phases = [simulate.Phase(e, {e: 1}) for e in counts]
    shapes = simulate.phase_spectra(phases, ENERGY_KEV).loadings
    expected = pixels * sum(n * shapes.sel(phase=e).values for e, n in counts.items())
    return drawn(expected, rng, pixels=pixels, elements=list(counts))


def test_pure_spectra__a_shell_that_is_thicker_about_its_core() -> None:
    rng = np.random.default_rng(1)
    sums = {"shell": _sum(rng, 400, Ti=60.0), "shell+core": _sum(rng, 200, Ti=90.0, Co=200.0)}
    source = Source("core", "shell+core", "shell")
    made = _made(sums, ["Ti", "Co"], source, {"core": "shell"})
    assert made.pinned == {"core": ("Ti_Ka",)}
    core = made.made["core"]
    assert float(core.scale) == pytest.approx(1.5, abs=0.05)
    assert float(core.counts.sum()) == pytest.approx(200 * 200, rel=0.03)
    # what one unit of the scale takes is the shell's counts in as many pixels
    assert float(core.scale_slope.sum()) == pytest.approx(60 * 200, rel=0.02)


def test_pure_spectra__few_pure_pixels_rather_than_a_line_that_hardly_knows_the_scale() -> None:
    """The carbide lacks the steel's one per cent of manganese, and holds all else of it."""
    rng = np.random.default_rng(2)
    sums = {
        "steel": _sum(rng, 9000, Fe=88.0, Cr=9.0, Mn=1.0),
        "carbide": _sum(rng, 30, Cr=65.0, Fe=25.0, Mn=1e-3),
        "steel+carbide": _sum(rng, 600, Cr=37.0, Fe=56.5, Mn=0.5),
    }
    source = Source("carbide", "steel+carbide", "steel")
    made = _made(sums, ["Fe", "Cr", "Mn"], source, {"carbide": "steel"})
    assert str(made.made["carbide"].way.values) == "pure pixels"
    assert made.pinned == {}


def test_pure_spectra__a_subtraction_that_is_known_well_rather_than_few_pure_pixels() -> None:
    rng = np.random.default_rng(3)
    sums = {
        "matrix": _sum(rng, 9000, Si=60.0, Mg=40.0),
        "grain": _sum(rng, 10, Fe=80.0, Mg=20.0),
        "matrix+grain": _sum(rng, 4000, Si=30.0, Mg=30.0, Fe=40.0),
    }
    source = Source("grain", "matrix+grain", "matrix")
    made = _made(sums, ["Si", "Mg", "Fe"], source, {"grain": "matrix"})
    assert made.pinned == {"grain": ("Si_Ka",)}


def test_pure_spectra__none_from_a_line_that_does_not_know_the_scale() -> None:
    rng = np.random.default_rng(2)
    sums = {
        "steel": _sum(rng, 9000, Fe=88.0, Cr=9.0, Mn=1.0),
        "steel+carbide": _sum(rng, 60, Cr=10.0, Fe=88.5, Mn=0.9),
    }
    made = _made(sums, ["Fe", "Cr", "Mn"], Source("carbide", "steel+carbide", "steel"), {})
    assert "carbide" not in made.made
    assert "carbide: no spectrum of its own" in made.notes[0]


def test_pure_spectra__a_film_without_lines_is_taken_out_by_its_counts() -> None:
    rng = np.random.default_rng(4)
    sums = {"film": _sum(rng, 900, C=60.0), "film+oxide": _sum(rng, 500, C=60.0, Ti=120.0)}
    source = Source("oxide", "film+oxide", "film")
    held = {"film+oxide": {"film": 60.0 * 500, "oxide": 120.0 * 500}}
    made = _made(sums, ["C", "Ti"], source, {}, held)
    oxide = made.made["oxide"]
    assert float(oxide.counts.sum()) == pytest.approx(120 * 500, rel=0.01)
    carbon = oxide[["counts", "variance"]].sel(energy=slice(0.2, 0.35)).sum("energy")
    assert abs(float(carbon.counts)) < 4 * float(carbon.variance) ** 0.5
    assert (str(oxide.way.values), made.pinned) == ("film+oxide less film", {})


def test_pure_spectra__a_core_that_is_nowhere_without_its_shell() -> None:
    """Its region is pure but for the shell; a shell of one line has no proportions."""
    rng = np.random.default_rng(5)
    sums = {"shell": _sum(rng, 500, Si=100.0), "core": _sum(rng, 200, Au=200.0, Si=35.0)}
    made = _made(sums, ["Si", "Au"], Source("core", "core", "shell"), {"core": ""})
    assert made.pinned == {"core": ("Si_Ka",)}
    assert float(made.made["core"].counts.sum()) == pytest.approx(200 * 200, rel=0.03)
