"""Which variables of a result are quantities, and from where chance explains them."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.composition.uncertainty.quantities import (
    CRITICAL_SIGMA,
    chosen_quantity,
    critical_level,
    deviation,
    quantities,
    variance_name,
)
from eds_xr.schema import EdsError


def lines(**more):
    data = {"net": [100.0, 4.0], "variance": [25.0, -1e-9], **more}
    made = xr.Dataset({name: ("line", values) for name, values in data.items()})
    made.net.attrs["units"] = "counts"
    return made


def test_quantities__have_a_variance_of_the_same_dimensions():
    made = lines(share=[0.1, 0.2], share_variance=[0.01, 0.01], scale=[1.0, 1.0])
    made["total"], made["total_variance"] = ("line", [1.0, 2.0]), ((), 1.0)
    assert quantities(made) == ["net", "share"]
    assert variance_name(made, "net") == "variance"
    assert variance_name(made, "share") == "share_variance"
    assert variance_name(made, "scale") == ""


def test_chosen_quantity__the_first_or_the_one_asked_for():
    made = lines(share=[0.1, 0.2], share_variance=[0.01, 0.01])
    assert chosen_quantity(made, None) == "net"
    assert chosen_quantity(made, "share") == "share"
    with pytest.raises(EdsError, match="no quantity 'mass' with a variance; .* has net, share"):
        chosen_quantity(made, "mass")
    with pytest.raises(EdsError, match="expected a Dataset with errors, found DataArray"):
        chosen_quantity(made.net, None)


def test_deviation__a_rounding_error_below_zero_is_zero():
    found = deviation(lines(), "net")
    assert found.values.tolist() == [5.0, 0.0]
    assert found.attrs["units"] == "counts"


def test_critical_level__as_given_then_from_the_detection_limit_then_from_the_deviation():
    np.testing.assert_allclose(critical_level(lines(), "net"), [CRITICAL_SIGMA * 5, 0])
    limit = 2.71 + 2 * 30.0
    found = critical_level(lines(detection_limit=[limit, limit]), "net")
    np.testing.assert_allclose(found, 30, rtol=1e-3)  # Currie: L_D = 2.71 + 2 L_C
    given = lines(critical_level=[7.0, np.nan], detection_limit=[limit, limit])
    np.testing.assert_allclose(critical_level(given, "net"), [7.0, 0.0])


def test_quantities__whatever_the_order_of_a_file():
    """A file may give back the film's thickness before the fractions."""
    one = {"atomic_fraction": ("element", [0.4, 0.6]), "mass_thickness": ((), 1e-4)}
    one["weight_fraction"] = ("element", [0.3, 0.7])
    names = ["weight_fraction", "mass_thickness", "atomic_fraction"]
    data = {n: one[n] for n in names} | {f"{n}_variance": one[n] for n in names}
    found = xr.Dataset(data, {"element": ["Mg", "O"]})
    assert quantities(found) == ["atomic_fraction", "weight_fraction", "mass_thickness"]
