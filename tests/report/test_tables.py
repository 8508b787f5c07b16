"""Tables of results, and CSV files that read back."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eds_xr.composition.minerals import formula, oxides
from eds_xr.composition.partition import partition_coefficients
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.traces import compare_regions
from eds_xr.report.tables import to_table, to_text, write_csv
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.sums import sum_spectra

ELEMENTS = ["Mg", "Al", "Si", "Fe", "Nd"]


@pytest.fixture(scope="module")
def spectra(assemblage):
    image, truth = assemblage
    masks = (truth.amounts > 0.3).assign_coords(phase=["Brg", "Fp", "Ca-Pv #2, odd"])
    return sum_spectra(image, masks).compute()


@pytest.fixture(scope="module")
def lines(spectra):
    return fit_lines(spectra, [*ELEMENTS, "Ca"], stray=["Cu", "Ga", "Sm", "Lu", "Hf", "U"])


@pytest.fixture(scope="module")
def results(spectra, lines):
    made = quantify(lines)
    return {
        "spectra": spectra,
        "lines": lines,
        "composition": made,
        "oxides": oxides(made),
        "formula": formula(made, oxygens=3),
        "one formula": formula(made.sel(phase="Fp"), oxygens=1),
        "ratio": ratio(made, "Fe", other="Mg"),
        "one ratio": ratio(made.sel(phase="Fp"), "Fe", other="Mg"),
        "partition": partition_coefficients(made, "Fp", reference="Brg"),
        "regions": compare_regions(spectra, lines, reference="Fp"),
    }


KINDS = (
    "spectra", "lines", "composition", "oxides", "formula", "one formula", "ratio", "one ratio",
    "partition", "regions",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_write_csv__reads_back(results, kind, tmp_path):
    path = write_csv(results[kind], tmp_path / "new folder" / "a.csv")
    found = pd.read_csv(path, comment="#")
    pd.testing.assert_frame_equal(found, to_table(results[kind]), check_dtype=False)
    assert [p.name for p in path.parent.iterdir()] == ["a.csv"]


def test_to_table__rows_and_columns_of_a_composition(results):
    made = results["composition"]
    table = to_table(made).set_index(["phase", "element"])
    assert len(table) == 3 * 6
    row = table.loc[("Fp", "Fe")]
    one = made.sel(phase="Fp", element="Fe")
    assert row["line"] == "Fe_Ka"
    assert row["atomic_fraction"] == float(one.atomic_fraction)
    assert row["atomic_fraction_sd"] == pytest.approx(float(one.atomic_fraction_variance) ** 0.5)
    spread = one.atomic_fraction_systematic_covariance.sel(element_other="Fe")
    assert row["atomic_fraction_systematic_sd"] == pytest.approx(float(spread) ** 0.5)
    assert row["atomic_fraction_detected"]
    assert row["atomic_fraction_upper_limit"] > row["atomic_fraction"]
    assert not [c for c in table.columns if "variance" in c]  # roots of them


def test_to_table__units_are_in_the_names(results):
    assert {"net [counts]", "net_sd [counts]", "background [counts]"} <= set(
        to_table(results["lines"]).columns
    )
    table = to_table(results["spectra"])
    assert list(table.columns[:2]) == ["phase", "energy [keV]"]
    np.testing.assert_allclose(table["counts_sd [counts]"] ** 2, table["counts [counts]"])
    assert len(table) == results["spectra"].counts.size


def test_to_table__intervals_are_columns(results):
    table = to_table(results["partition"])
    low, high = (table[f"partition_coefficient_{end}_95"] for end in ("lower", "upper"))
    assert (low < high).all()
    assert list(table.phase.unique()) == ["Fp"]


def test_to_table__of_one_number(results):
    table = to_table(results["one ratio"])
    assert len(table) == 1
    assert {"ratio", "ratio_sd"} <= set(table.columns)


def test_to_table__is_computed(results):
    lazy = results["composition"].chunk(phase=1)
    pd.testing.assert_frame_equal(to_table(lazy), to_table(results["composition"]))


def test_write_csv__tells_what_it_is(results, tmp_path):
    text = write_csv(results["composition"], tmp_path / "a.csv").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[0].startswith("# eds_xr ")
    assert any('"step": "quantify"' in line for line in comments)
    assert any("95 % confidence" in line for line in comments)


def test_write_csv__never_replaces_unasked(results, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("mine")
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        write_csv(results["ratio"], path)
    assert path.read_text() == "mine"
    write_csv(results["ratio"], path, overwrite=True)
    assert "ratio_sd" in path.read_text()


def test_write_csv__leaves_nothing_of_a_failure(results, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(EdsError, match="writing .* failed: disk full; nothing was left behind"):
        write_csv(results["ratio"], tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


def test_to_text__fractions_are_per_cent(results):
    made = results["composition"]
    text = to_text(made)
    assert text.attrs["units"] == "at%"
    shown = text.sel(phase="Brg", element="Mg").item()
    value = float(made.atomic_fraction.sel(phase="Brg", element="Mg"))
    assert float(shown.split("(")[0]) == pytest.approx(100 * value, abs=1)
    assert text.sel(phase="Fp", element="Nd").item().startswith("< ")
    assert to_text(made, "weight_fraction").attrs["units"] == "wt%"
    assert to_text(results["lines"]).attrs["units"] == "counts"


def test_to_text__open_ratios():
    net = xr.DataArray(
        [[500.0, 1e4], [-10.0, 1e4]], [("phase", ["a", "b"]), ("line", ["Nd_La", "Si_Ka"])]
    )
    data = {"net": net, "variance": 0 * net + 400}
    lines = xr.Dataset(data, attrs={"beam_energy_kev": 200.0})
    there = to_text(partition_coefficients(quantify(lines), "a", reference="b"))
    assert there.sel(element="Nd").item().startswith("> ")
    lines["net"].loc[{"phase": "a", "line": "Nd_La"}] = 3.0
    assert to_text(partition_coefficients(quantify(lines), "a", reference="b"))[0].item() == "-"


def test_errors(results):
    with pytest.raises(EdsError, match="no quantity with a variance"):
        to_table(results["ratio"][["ratio"]])
    with pytest.raises(EdsError, match="no quantity 'mass' with a variance"):
        to_text(results["composition"], "mass")


def test_write_csv__one_warning_as_netcdf_gives_it_back(tmp_path):
    net = xr.DataArray([5.0], {"line": ["Fe_Ka"]})
    lines = xr.Dataset({"net": net, "variance": net}, attrs={"warnings": "only one"})
    text = write_csv(lines, tmp_path / "a.csv").read_text()
    assert text.count("warning:") == 1
    assert "# warning: only one" in text


@pytest.mark.parametrize("function", [to_table, to_text])
@pytest.mark.parametrize("confidence", [95, "95 %", 0])
def test_confidence__is_a_probability(function, confidence):
    net = xr.DataArray([5.0], {"line": ["Fe_Ka"]})
    with pytest.raises(EdsError, match="confidence must be between"):
        function(xr.Dataset({"net": net, "variance": net}), confidence=confidence)
