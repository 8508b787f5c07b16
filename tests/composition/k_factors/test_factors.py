import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import k_factors as kf
from eds_xr.composition.absolute import quantify_cross_sections, quantify_zeta
from eds_xr.composition.k_factors.modes import with_modes
from eds_xr.composition.k_factors.table import make_table
from eds_xr.composition.quantify import quantify
from eds_xr.schema import EdsError

TABLE = """# measured on San Carlos olivine
# units: weight
# beam_energy_kev: 200
# reference: Si_Ka
element,line,k,standard_deviation
Si,Ka,1.0,0
Fe,Fe_Ka,1.31,0.04
Nd,Lα,2.2,0.3
"""


@pytest.fixture
def written(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "k.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


# -- reading -------------------------------------------------------------------------------------


def test_read_k_factors__of_a_table(written):
    table = kf.read_k_factors(written(TABLE))
    assert table.line.values.tolist() == ["Si_Ka", "Fe_Ka", "Nd_La"]
    assert table.k.values.tolist() == [1.0, 1.31, 2.2]
    assert table.standard_deviation.values.tolist() == [0, 0.04, 0.3]
    assert table.k.attrs["units"] == "weight"
    assert table.attrs == {"beam_energy_kev": 200.0, "reference": "Si_Ka", "source": "k.csv"}


def test_read_k_factors__columns_go_by_name(written):
    other = """"# units: weight",,,
# beam_energy_kev: 200,,,
# reference: Si_Ka,,,
Standard_Deviation, line , K,remark,element
0,Ka,1.0,"fine, so far",Si

0.04,Ka,1.31,,Fe
0.3,La,2.2,,Nd
,,,,
"""
    one = kf.read_k_factors(written(TABLE))
    xr.testing.assert_identical(kf.read_k_factors(written(other)), one)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_read_k_factors__as_spreadsheets_write_it(written, encoding, newline):
    found = kf.read_k_factors(written(TABLE.replace("\n", newline), encoding))
    xr.testing.assert_identical(found, kf.read_k_factors(written(TABLE)))


def test_read_k_factors__arguments_say_what_the_file_does_not(written):
    bare = "element,line,k,standard_deviation\nSi,Ka,1.0,0\n"
    found = kf.read_k_factors(written(bare), units="atomic", beam_energy_kev=300)
    assert found.k.attrs["units"] == "atomic"
    assert found.attrs["beam_energy_kev"] == 300
    with pytest.raises(EdsError, match="does not state its units; add a line '# units: weight' or"):
        kf.read_k_factors(written(bare))
    with pytest.raises(EdsError, match="says units 'weight', you say 'atomic'; one is wrong"):
        kf.read_k_factors(written(TABLE), units="atomic")
    with pytest.raises(EdsError, match="is for a beam of 200 keV, beam_energy_kev says 300"):
        kf.read_k_factors(written(TABLE), beam_energy_kev=300)
    with pytest.raises(EdsError, match="units must be one of 'weight', 'atomic', found 'mass'"):
        kf.read_k_factors(written(TABLE), units="mass")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("Fe,Fe_Ka", "Xx,Ka", "k.csv, row 7: no chemical element 'Xx'"),
        ("Fe,Fe_Ka", "FE,Ka", "k.csv, row 7: no chemical element 'FE'"),
        ("Fe,Fe_Ka", ",Ka", "k.csv, row 7: no chemical element ''"),
        ("Fe,Fe_Ka", "Fe,Mg_Ka", "k.csv, row 7: the line 'Mg_Ka' is not one of element 'Fe'"),
        ("Fe,Fe_Ka", "Fe,K", "k.csv, row 7: Fe has no line 'K'; it has Ka, Kb"),
        ("Fe,Fe_Ka", "Fe,", "k.csv, row 7: expected a line such as 'Fe_Ka'"),
        ("Fe,Fe_Ka", "Si,Ka", "k.csv, row 7: Si_Ka is already in row 6; leave one"),
        ("1.31,0.04", "-1.31,0.04", "k.csv, row 7: k of Fe_Ka must be positive, found -1.31"),
        ("1.31,0.04", "0,0.04", "row 7: k of Fe_Ka must be positive, found 0"),
        ("1.31,0.04", "nan,0.04", "row 7: k is 'nan'; expected a number"),
        ("1.31,0.04", "inf,0.04", "row 7: k is 'inf'; expected a number"),
        ("1.31,0.04", "1_31,0.04", "row 7: k is '1_31'; expected a number"),
        ("1.31,0.04", "1.31,-0.04", "row 7: the standard deviation of Fe_Ka must not be negative"),
        ("1.31,0.04", "1.31,", "row 7: standard_deviation is ''; give it, in the units of"),
        ("1.31,0.04", "1,31,0,04", "row 7: 6 cells, the header has 4.*decimal points"),
        ("1.31,0.04", '"1,31",0.04', "row 7: k is '1,31'; write a decimal point, not a comma"),
        ("1.31,0.04", '1.31,"0.04', "row 7: .*; check its quotation marks"),
        ("element,line,k,st", "element,line,factor,st", "row 5: no column k; the header must name"),
        ("element,line,k,standard_deviation\n", "", "row 5: no column element, line, k, standard"),
        ("line,k,", "line,k,k,", "row 5: column k appears twice"),
        ("# units: weight", "# units: wt%", "k.csv: units must be weight or atomic, found 'wt%'"),
        ("keV: 200", "kev: 200 kV", "k.csv: '# beam_energy_kev: 200 kV' is no positive number"),
        ("_kev: 200", "_kev: -200", "'# beam_energy_kev: -200' is no positive number"),
        ("reference: Si_Ka", "reference: Ca_Ka", "reference 'Ca_Ka' is not among its lines"),
    ],
)
def test_read_k_factors__errors_name_row_and_cure(written, before, after, message):
    text = TABLE.replace("_kev: 200", "_keV: 200") if before.startswith("keV") else TABLE
    assert before in text
    with pytest.raises(EdsError, match=message):
        kf.read_k_factors(written(text.replace(before, after)))


def test_read_k_factors__errors_of_files(written, tmp_path):
    semicolons = TABLE.replace(",", ";").replace(".", ",")
    for text, encoding, message in [
        ("", "utf-8", "k.csv holds no table; expected a header, 'element,line,k,standard_dev"),
        ("# units: weight\n", "utf-8", "k.csv holds no table"),
        ("element,line,k,standard_deviation\n", "utf-8", "k.csv holds a header but no line"),
        (semicolons, "utf-8", "row 5: the columns are separated by semicolons or tabs; save"),
        (TABLE.replace(",", "\t"), "utf-8", "row 5: the columns are separated by semicolons or"),
        (TABLE, "utf-16", "k.csv is not UTF-8 text; save it as 'CSV UTF-8'"),
    ]:
        with pytest.raises(EdsError, match=message):
            kf.read_k_factors(written(text, encoding))
    with pytest.raises(EdsError, match="cannot read .*none.csv: No such file"):
        kf.read_k_factors(tmp_path / "none.csv")


@given(st.text(alphabet='element,linekstandard_deviation\n#:"; 0123.-KaSiFe', max_size=200))
def test_read_k_factors__reads_or_raises_its_own_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("k") / "k.csv"
    path.write_text("# units: weight\nelement,line,k,standard_deviation\n" + text)
    try:
        found = kf.read_k_factors(path)
    except EdsError:
        return
    assert (found.k > 0).all()


# -- writing -------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["Si_Ka", "Fe_Ka", "Nd_La", "U_Ma"]), min_size=1, unique=True),
    st.data(),
)
def test_write_k_factors__reading_gives_the_same(tmp_path_factory, names, data):
    numbers = st.lists(st.floats(1e-3, 1e3), min_size=len(names), max_size=len(names))
    k, spread = (dict(zip(names, data.draw(numbers), strict=True)) for _ in range(2))
    units = data.draw(st.sampled_from(["weight", "atomic"]))
    table = kf.k_factors(k, spread, units=units, beam_energy_kev=300)
    path = kf.write_k_factors(table, tmp_path_factory.mktemp("k") / "k.csv")
    found = kf.read_k_factors(path)
    xr.testing.assert_identical(found.drop_attrs(deep=False), table.drop_attrs(deep=False))
    assert found.attrs == table.attrs | {"source": "k.csv"}


def test_write_k_factors__of_every_kind(tmp_path):
    sections = kf.standardless_cross_sections(
        ["Si_Ka", "Nd_La"], solid_angle_sr=0.7, beam_energy_kev=200
    )
    zeta, path = kf.zeta_from_cross_sections(sections), tmp_path / "factors.csv"
    kf.write_k_factors(sections, path)
    xr.testing.assert_identical(kf.read_cross_sections(path), sections)
    with pytest.raises(EdsError, match="factors.csv exists; give overwrite=True"):
        kf.write_k_factors(zeta, path)
    kf.write_k_factors(zeta, path, overwrite=True)
    xr.testing.assert_identical(kf.read_zeta_factors(path), zeta)
    k = kf.standardless_k_factors(["Si_Ka", "Nd_La"], beam_energy_kev=200)
    xr.testing.assert_identical(kf.read_k_factors(kf.write_k_factors(k, tmp_path / "k.csv")), k)
    with pytest.raises(EdsError, match="no column k; the header"):
        kf.read_k_factors(path)


def test_write_k_factors__needs_a_table(tmp_path):
    with pytest.raises(EdsError, match=r"expected a table of k-factors .* found \['net'\]"):
        kf.write_k_factors(xr.Dataset({"net": 1}), tmp_path / "k.csv")
    assert not (tmp_path / "k.csv").exists()


def test_k_factors__errors():
    for values, options, message in [
        ({}, {}, "expected lines, each once"),
        ({"Fe": 1.0}, {}, "expected a line such as 'Fe_Ka'"),
        ({"Fe_Ka": -1.0}, {}, "k-factors must be positive"),
        ({"Fe_Ka": 1.0}, {"standard_deviation": {"Fe_Ka": np.nan}}, "k-factors must be positive"),
        ({"Fe_Ka": 1.0}, {"standard_deviation": {"Si_Ka": 0.1}}, "but no k-factor for Si_Ka"),
        ({"Fe_Ka": 1.0}, {"units": "kg"}, "units of k-factors must be weight or atomic"),
    ]:
        with pytest.raises(EdsError, match=message):
            kf.k_factors(values, **options)


# -- one kind from another -----------------------------------------------------------------------

NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka", "Nd_La"]


def test_conversions__lead_back_to_where_they_began():
    sections = kf.standardless_cross_sections(NAMES, solid_angle_sr=0.7, beam_energy_kev=200)
    zeta = kf.zeta_from_cross_sections(sections)
    xr.testing.assert_allclose(kf.cross_sections_from_zeta(zeta), sections)
    k = kf.k_factors_from_zeta(zeta, "Mg_Ka")
    xr.testing.assert_allclose(k, kf.standardless_k_factors(NAMES, beam_energy_kev=200))
    scale = float(zeta.zeta.sel(line="Si_Ka"))
    xr.testing.assert_allclose(kf.zeta_from_k_factors(k, "Si_Ka", zeta_kg_m2=scale), zeta)


def test_zeta_from_cross_sections__is_the_mass_of_an_atom_over_its_area():
    made = kf.standardless_cross_sections(["Fe_Ka"], solid_angle_sr=4 * np.pi, beam_energy_kev=200)
    zeta = kf.zeta_from_cross_sections(made)
    atom_kg = 55.845 * 1.66053907e-27
    assert float(zeta.zeta[0]) == pytest.approx(
        atom_kg / (1e-28 * float(made.cross_section[0])), rel=1e-4
    )


def test_conversions__errors():
    k = kf.standardless_k_factors(NAMES, beam_energy_kev=200)
    zeta = kf.zeta_from_k_factors(k, "Si_Ka", zeta_kg_m2=500.0)
    for call, message in [
        (lambda: kf.k_factors_from_zeta(k, "Si_Ka"), "expected a table of zeta-factors"),
        (lambda: kf.k_factors_from_zeta(zeta, "Ca_Ka"), "Ca_Ka is not in the table: Mg_Ka"),
        (lambda: kf.zeta_from_k_factors(k, "Si_Ka", zeta_kg_m2=0.0), "zeta_kg_m2 must be positive"),
    ]:
        with pytest.raises(EdsError, match=message):
            call()


@pytest.mark.parametrize("oxygen", ["measured", "stoichiometry"])
def test_methods__agree_where_their_factors_do(oxygen):
    net = np.array([300.0, 200.0, 100.0, 4.0])
    lines = xr.Dataset(
        {"net": ("line", net), "covariance": (("line", "line_other"), np.diag(net) + 1)},
        {"line": NAMES, "line_other": NAMES},
        {"elevation_angle_deg": 18.0, "beam_energy_kev": 200.0},
    )
    sections = kf.standardless_cross_sections(NAMES, solid_angle_sr=0.7, beam_energy_kev=200)
    zeta, k = (
        kf.zeta_from_cross_sections(sections),
        kf.standardless_k_factors(NAMES, beam_energy_kev=200),
    )
    how = {"oxygen": oxygen, "absorption_uncertainty": 0.0}
    by_zeta = quantify_zeta(lines, zeta, dose_electrons=1e8, **how)
    by_section = quantify_cross_sections(lines, sections, dose_electrons=1e8, **how)
    kinds = [n for n in by_zeta if n not in ("zeta_factor", "systematic")]
    xr.testing.assert_allclose(by_zeta[kinds], by_section[kinds], rtol=1e-9)
    by_k = quantify(lines, k, mass_thickness_kg_m2=by_zeta.mass_thickness.item(), **how)
    assert by_zeta.absorption_correction.max() > 1.05
    for name in ("atomic_fraction", "weight_fraction", "absorption_correction"):
        xr.testing.assert_allclose(by_k[name], by_zeta[name], rtol=1e-9)
    thin = [quantify_zeta(lines, zeta, dose_electrons=1e8, absorption=False, **how)]
    thin.append(quantify(lines, k, **how))
    for name in ("atomic_fraction_covariance", "atomic_fraction_systematic_covariance"):
        xr.testing.assert_allclose(thin[0][name], thin[1][name], rtol=1e-9)


def test_write_k_factors__a_folder_that_is_not_writable_is_told(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(EdsError, match="failed"):
        kf.write_k_factors(kf.k_factors({"Si_Ka": 1.0}), tmp_path / "folder.csv", overwrite=True)


@pytest.mark.parametrize("values", [{"Si_Ka": "a"}, {"Si_Ka": None}])
def test_k_factors__that_are_no_numbers(values):
    with pytest.raises(EdsError, match="k-factor of Si_Ka must be a number"):
        kf.k_factors(values)


# -- errors of their own, and conditions ---------------------------------------------------------

MODES = """# units: weight
# beam_energy_kev: 200
# detector: Super-X
# detector_dead_layer_nm: 30.0
# detector_energy_kev: [0.1, 0.2]
# absorption_corrected: 1
element,line,k,standard_deviation,"Error: counts of Fe_Ka, olivine",error: absorption
Si,Ka,1.0,0,0,0
Fe,Ka,2.0,0.1,0.04,-0.03
"""


def test_read_k_factors__with_errors_and_conditions(written):
    table = kf.read_k_factors(written(MODES))
    assert table.error.values.tolist() == ["counts of Fe_Ka, olivine", "absorption"]
    assert table.relative_error.sel(line="Fe_Ka").values.tolist() == [0.04, -0.03]
    assert table.attrs["detector"] == "Super-X"
    assert table.attrs["detector_dead_layer_nm"] == 30.0
    assert table.attrs["detector_energy_kev"] == [0.1, 0.2]
    assert table.attrs["absorption_corrected"] == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.0,0.1,", "2.0,0.2,", "the errors of Fe_Ka make a standard deviation of 0.1, the"),
        ("-0.03", "much", "error: absorption is 'much'"),
        ("layer_nm: 30.0", "layer_nm: thin", "'# detector_dead_layer_nm: thin' is no number"),
        ("[0.1, 0.2]", "[0.1, a]", "is no list of numbers"),
        ("error: absorption", "error: Counts of Fe_Ka", None),
    ],
)
def test_read_k_factors__checks_errors_and_conditions(written, old, new, message):
    file = written(MODES.replace(old, new))
    if message is None:
        assert "Counts of Fe_Ka" in kf.read_k_factors(file).error
        return
    with pytest.raises(EdsError, match=re.escape(message)):
        kf.read_k_factors(file)


@given(
    st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6),
    st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8),
    st.sampled_from(["k", "zeta", "cross_section"]),
)
@settings(max_examples=30)
def test_write_k_factors__keeps_errors_and_conditions(tmp_path_factory, modes, name, kind):
    units = {"k": "weight", "zeta": "kg/m2", "cross_section": "barn"}[kind]
    attrs = {
        "beam_energy_kev": 200.0, "detector": name, "detector_window_nm": 0.1, "date": "2026-11-29",
        "live_time_s": 1 / 3, "absorption_corrected": 1, "standardless": 0, "standard": name,
        "detector_energy_kev": [0.1, 20.0], "detector_efficiency": [1 / 3, 1.0], "source": name,
        "chi_square": 1.5, "degrees_of_freedom": 2, "reference": "Si_Ka",
    }  # fmt: skip
    made = make_table(kind, ["Si_Ka", "Fe_Ka"], np.array([1, 1 / 3]), np.zeros(2), units=units,
                      attrs=attrs)  # fmt: skip
    errors = [f'counts of "Si_Ka", {name}', "absorption", "Al of it"]
    made = with_modes(made, kind, errors, np.reshape(modes, (3, 2)))
    assert ("relative_error" in made) == (max(map(abs, modes)) > 1e-15)
    path = tmp_path_factory.mktemp("k") / "k.csv"
    kf.write_k_factors(made, path)
    read = {"k": kf.read_k_factors, "zeta": kf.read_zeta_factors,
            "cross_section": kf.read_cross_sections}[kind]  # fmt: skip
    found = read(path)
    xr.testing.assert_equal(found, made)
    assert found.attrs == made.attrs


def test_k_factors_from_zeta__what_all_have_in_common_cancels():
    made = make_table("zeta", ["Si_Ka", "Fe_Ka"], np.array([500.0, 650.0]), np.zeros(2),
                      units="kg/m2", attrs={})  # fmt: skip
    made = with_modes(made, "zeta", ["dose", "counts of Fe_Ka"], np.array([[0.1, 0.1], [0, 0.02]]))
    k = kf.k_factors_from_zeta(made, "Si_Ka")
    np.testing.assert_allclose(k.standard_deviation, [0, 0.02 * 1.3])
    sections = kf.cross_sections_from_zeta(made)
    np.testing.assert_allclose(sections.relative_error, -made.relative_error)
