"""Marks on numbers travel from lines to every table, and to those numbers only."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure
from support.drawn import words

from eds_xr.composition.absolute import quantify_zeta
from eds_xr.composition.minerals import formula, formula_text, oxides
from eds_xr.composition.partition import partition_coefficients
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.traces import compare_regions, upper_limits
from eds_xr.composition.uncertainty import marks
from eds_xr.report.drawn_table import plot_table
from eds_xr.report.tables import to_table, to_text, write_csv
from eds_xr.schema import zero_where_assumed

LINES = ["Mg_Ka", "Si_Ka", "Fe_Ka", "Nd_La"]
DOUBT = "cannot be told from Zn_La"


def marked_lines():
    """Return lines of two phases: Mg of Brg in doubt, Si of Fp assumed, though fitted as 40."""
    net = np.array([[3e4, 3e4, 2e3, 5.0], [4e4, 40.0, 1e4, 300.0]])
    doubt, assumed = np.full((2, 4), "", "U40"), np.zeros((2, 4), bool)
    doubt[0, 0], assumed[1, 1] = DOUBT, True
    dims, eye = ("phase", "line"), np.eye(4)
    spread = net + 400
    data = {
        "net": (dims, net, {"units": "counts"}),
        "variance": (dims, spread, {"units": "counts^2"}),
        "covariance": ((*dims, "line_other"), spread[..., None] * (eye + 0.1 * (1 - eye))),
        "shared_error": (("mode", *dims), np.ones((2, 2, 4))),
        "effect_covariance": (("effect", *dims, "line_other"), np.ones((2, 2, 4, 4))),
        "critical_level": (dims, np.full((2, 4), 33.0)),
        "detection_limit": (dims, np.full((2, 4), 68.0)),
        "background": (dims, np.full((2, 4), 400.0)),
        "doubt": (dims, doubt),
        "assumed": (dims, assumed),
    }
    coords = {"phase": ["Brg", "Fp"], "line": LINES, "line_other": LINES}
    coords["effect"] = ["counting", "line_weights"]
    return xr.Dataset(data, coords, {"left_out": ["H", "Li"], "beam_energy_kev": 200.0})


def results():
    lines = marked_lines()
    made = quantify(lines)
    return {
        "lines": lines,
        "composition": made,
        "oxides": oxides(made),
        "formula": formula(made, oxygens=3),
        "partition": partition_coefficients(made, "Fp", reference="Brg"),
        "limits": upper_limits(made),
        "zeta": quantify_zeta(
            lines, dict.fromkeys(LINES, 1000.0), dose_electrons=1e12, absorption=False
        ),
    }


def test_zero_where_assumed__nothing_is_left_of_what_was_fitted():
    found = zero_where_assumed(marked_lines()).sel(phase="Fp")
    at = found.sel(line="Si_Ka")
    assert float(at.net) == float(at.variance) == 0
    for name in ("covariance", "shared_error", "effect_covariance"):
        assert (at[name] == 0).all(), name
        assert found[name].dims[-2:] == marked_lines()[name].isel(phase=0).dims[-2:]
    assert (found.covariance.sel(line_other="Si_Ka") == 0).all()
    assert float(found.covariance.sel(line="Mg_Ka", line_other="Fe_Ka")) > 0
    assert np.isnan(at.critical_level)
    assert np.isnan(at.detection_limit)
    assert float(at.background) == 400
    free = marked_lines().sel(phase="Brg")
    xr.testing.assert_identical(zero_where_assumed(marked_lines()).sel(phase="Brg"), free)


def test_zero_where_assumed__after_lines_were_chosen():
    chosen = marked_lines().sel(line=["Si_Ka", "Fe_Ka"])  # line_other stays as it was
    found = zero_where_assumed(chosen)
    assert (found.covariance.sel(phase="Fp", line="Si_Ka") == 0).all()
    xr.testing.assert_identical(
        found.covariance.sel(phase="Fp", line="Fe_Ka", line_other=["Mg_Ka", "Fe_Ka"]),
        chosen.covariance.sel(phase="Fp", line="Fe_Ka", line_other=["Mg_Ka", "Fe_Ka"]),
    )


def test_quantify__what_is_assumed_is_zero_without_error_or_limit():
    made = results()["composition"]
    si = made.sel(phase="Fp", element="Si")
    assert bool(si.assumed)
    for quantity in ("atomic_fraction", "weight_fraction"):
        assert float(si[quantity]) == float(si[f"{quantity}_variance"]) == 0
        assert (si[f"{quantity}_systematic_covariance"] == 0).all()
        assert np.isnan(si[f"{quantity}_detection_limit"])
    limits = upper_limits(made).sel(phase="Fp", element="Si")
    assert np.isnan(limits.upper_limit)
    assert not bool(limits.detected)
    # the other elements are those of a composition without it
    alone = quantify(marked_lines().sel(phase="Fp").drop_vars("assumed"), exclude=["Si"])
    rest = made.sel(phase="Fp", element=["Mg", "Fe", "Nd"])
    np.testing.assert_allclose(rest.atomic_fraction, alone.atomic_fraction)
    np.testing.assert_allclose(rest.atomic_fraction_variance, alone.atomic_fraction_variance)


def test_quantify__lines_with_marks_joined_to_lines_without():
    lines = marked_lines()
    bare = lines.sel(phase=["Brg"]).drop_vars(["doubt", "assumed"])
    made = quantify(xr.concat([bare, lines.sel(phase=["Fp"])], dim="phase"))
    assert made.assumed.values.tolist() == [[False] * 4, [False, True, False, False]]
    assert (made.doubt == "").all()
    assert to_text(made).sel(phase="Fp", element="Si").item() == "0 (assumed)"


def test_quantify__oxygen_by_stoichiometry_bears_no_mark():
    made = quantify(marked_lines(), oxygen="stoichiometry")
    assert made.doubt.sel(element="O").values.tolist() == ["", ""]
    assert not made.assumed.sel(element="O").any()
    assert made.doubt.sel(phase="Brg", element="Mg").item() == DOUBT


@pytest.mark.parametrize("kind", ["lines", "composition", "oxides", "formula", "zeta"])
def test_to_text__marks_exactly_the_numbers_concerned(kind):
    text = to_text(results()[kind])
    dim = text.dims[-1]
    mg, si = (0, 1)
    flat = text.transpose("phase", dim)
    marked = np.char.endswith(flat.values.astype(str), "†")
    assert np.argwhere(marked).tolist() == [[0, mg]]
    assert "(" in flat.values[0, mg]  # value and error stay
    assumed = flat.values == "0 (assumed)"
    assert np.argwhere(assumed).tolist() == [[1, si]]
    assert text.attrs["notes"] == [
        f"† {DOUBT}", "left out, without a line in the range: H, Li",
    ]  # fmt: skip


def test_partition__of_doubtful_and_assumed_fractions():
    text = to_text(results()["partition"])
    assert text.sel(element="Mg").item().endswith("†")  # of the reference, so of the ratio
    assert text.sel(element="Si").item() == "0 (assumed)"
    made = results()["composition"]
    per = partition_coefficients(made, "Fp", reference="Brg", per="Mg")
    assert (per.doubt == DOUBT).all()  # all are divided by what is in doubt
    turned = partition_coefficients(made, "Brg", reference="Fp")
    assert not turned.assumed.any()
    assert to_text(turned).sel(element="Si").item() == "-"


def test_ratio__has_the_doubts_of_both():
    made = results()["composition"]
    found = ratio(made, "Fe", other="Mg")
    assert found.doubt.values.tolist() == [DOUBT, ""]
    of_si = ratio(made, "Si", other="Fe")
    assert of_si.assumed.values.tolist() == [False, True]
    assert to_text(of_si).values[1] == "0 (assumed)"


def test_compare_regions__what_is_assumed_has_no_signal():
    spectra = xr.Dataset({"n_pixels": ("phase", [100, 10])}, {"phase": ["Brg", "Fp"]})
    found = compare_regions(spectra, marked_lines(), reference="Brg")
    assert np.isnan(found.signal.sel(phase="Fp", line="Si_Ka"))
    assert found.doubt.sel(phase="Brg", line="Mg_Ka").item() == DOUBT


def test_formula_text__marks_what_is_in_doubt_and_leaves_out_what_is_assumed():
    text = formula_text(results()["formula"])
    brg, fp = text.values.tolist()
    assert brg.count("†") == 1
    assert brg.split(" ")[0].startswith("Mg")
    assert brg.split(" ")[0].endswith("†")
    assert "Si" not in fp
    assert text.attrs["notes"] == [f"† {DOUBT}"]


def test_to_table__columns_of_marks_and_no_error_of_what_is_assumed():
    table = to_table(results()["composition"]).set_index(["phase", "element"])
    assert table.loc[("Brg", "Mg"), "doubt"] == DOUBT
    assert table.doubt.notna().sum() == 1
    row = table.loc[("Fp", "Si")]
    assert row.assumed
    assert row.atomic_fraction == 0
    for end in ("_sd", "_systematic_sd", "_upper_limit"):
        assert np.isnan(row[f"atomic_fraction{end}"]), end
    assert not row.atomic_fraction_detected


def test_write_csv__says_what_marks_mean_and_what_is_missing(tmp_path):
    path = write_csv(results()["composition"], tmp_path / "a.csv")
    text = path.read_text()
    assert "# doubt: why a number is not to be believed" in text
    assert "# left out, without a line in the range: H, Li" in text
    table = pd.read_csv(path, comment="#").set_index(["phase", "element"])
    assert table.loc[("Brg", "Mg"), "doubt"] == DOUBT
    assert table.doubt.notna().sum() == 1


def test_plot_table__marks_and_foot():
    axes = Figure(figsize=(6, 4)).add_axes((0.05, 0.05, 0.9, 0.8))
    plot_table(results()["composition"], axes=axes)
    shown = " ".join(words(axes))
    assert shown.count("†") == 2  # the number and the foot
    assert f"† {DOUBT}." in shown
    assert "(assumed)" in shown
    assert "Assumed: zero by the choice of the subtraction's scale" in shown
    assert "Left out, without a line in the range: H, Li." in shown


def test_joined__says_each_reason_once():
    one = xr.DataArray(["beside Zn", "", "misfit"], dims="line")
    two = xr.DataArray(["misfit; beside Zn", "misfit", "misfit"], dims="line")
    assert marks.joined(one, two).values.tolist() == ["beside Zn; misfit", "misfit", "misfit"]


def test_signs__more_reasons_than_signs():
    doubt = xr.DataArray([f"reason {i}" for i in range(6)], dims="line")
    found, notes = marks.signs(doubt)
    assert found.values.tolist() == ["†", "‡", "§", "¶", "††", "‡‡"]
    assert notes[5] == "‡‡ reason 5"


def test_tables__without_marks_have_none():
    lines = marked_lines().drop_vars(["doubt", "assumed"])
    lines.attrs = {"beam_energy_kev": 200.0}
    made = quantify(lines)
    assert not {"doubt", "assumed"} & set(made.data_vars)
    assert to_text(made).attrs["notes"] == []


def test_to_text__no_limit_holds_what_is_not_to_be_believed():
    lines = marked_lines()
    lines["net"].values[0, 0] = 3.0
    text = lines.eds.to_text()
    assert text.sel(phase="Brg", line="Mg_Ka").item() == "-†"
    assert text.sel(phase="Brg", line="Fe_Ka").item().endswith(")")


def test_to_text__a_zero_that_is_assumed_of_a_phase_in_doubt_says_so() -> None:
    made = quantify(marked_lines())
    doubt = xr.where(made.assumed, "unproven", made.doubt)
    text = to_text(made.assign(doubt=doubt.transpose(*made.doubt.dims)))
    assert text.sel(phase="Fp", element="Si").item().startswith("0 (assumed)")
    assert text.sel(phase="Fp", element="Si").item() != "0 (assumed)"
    assert any("unproven" in note for note in text.attrs["notes"])
