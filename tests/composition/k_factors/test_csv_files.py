"""CSV files of factors, row by row."""

import pytest

from eds_xr.composition.k_factors.csv_files import number_in_comment, read_rows
from eds_xr.schema import EdsError

HEADER = "element,line,k,standard_deviation\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "k.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_read_rows__numbers_the_rows_as_an_editor_does(file):
    rows, comments = read_rows(file(f"# Units : weight\n\n{HEADER}Si,Ka,1,0\n,,,\nFe,Kβ,2,.1"), "k")
    assert [(r.name, r.value, r.deviation, r.row) for r in rows] == [
        ("Si_Ka", 1.0, 0.0, 4), ("Fe_Kb", 2.0, 0.1, 6),
    ]  # fmt: skip
    assert comments == {"units": "weight"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Si,Ka,1_0,0", "row 2: k is '1_0'; expected a number"),
        ("Si,Ka,inf,0", "row 2: k is 'inf'; expected a number"),
        ('Si,Ka,"1,3",0', "k is '1,3'; write a decimal point, not a comma"),
        ("Si,Ka,1,", "standard_deviation is ''; give it, in the units of the factor"),
        ("Si,Ka,0,0", "k of Si_Ka must be positive, found 0"),
        ("Si,Ka,1,-1", "standard deviation of Si_Ka must not be negative"),
        ("Si,Fe_Ka,1,0", "the line 'Fe_Ka' is not one of element 'Si'"),
        ("Si,Ka,1", "3 cells, the header has 4"),
    ],
)
def test_read_rows__errors_name_row_and_cell(file, row, message):
    with pytest.raises(EdsError, match="k.csv, row 2: ") as error:
        read_rows(file(f"{HEADER}{row}\n"), "k")
    assert message in str(error.value)


def test_read_rows__nothing_to_read(file):
    for text, message in (("# only\n", "holds no table"), (HEADER, "a header but no line")):
        with pytest.raises(EdsError, match=message):
            read_rows(file(text), "k")


def test_number_in_comment__positive_or_absent(tmp_path):
    path = tmp_path / "k.csv"
    assert number_in_comment(path, {"beam_energy_kev": "200"}, "beam_energy_kev") == 200
    assert number_in_comment(path, {}, "beam_energy_kev") is None
    for wrong in ("200 kV", "-1", "nan", "inf"):
        with pytest.raises(EdsError, match="is no positive number; write the number alone"):
            number_in_comment(path, {"beam_energy_kev": wrong}, "beam_energy_kev")
