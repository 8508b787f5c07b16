"""Figures and the table of the study, as far as axes can tell."""

from support.drawn import composition, words

from eds_xr.analysis.deep_mantle import figures as study_figures
from eds_xr.composition.partition import partition_coefficients


def test_table_1__both_tables():
    made = composition()
    coefficients = partition_coefficients(made, "Fp", reference="Brg").expand_dims("phase")
    figure = study_figures.table_1(made, coefficients)
    left, right = figure.axes
    assert left.get_title(loc="left") == "(a) Composition without oxygen"
    assert right.get_title(loc="left") == "(b) Partition coefficients against Brg"
    assert "Fp" in words(right)
