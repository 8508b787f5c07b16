"""Independent errors of a table of factors: what one standard deviation of each does to each line.

``relative_error [error, line]``: relative, named by what causes them. The same name in two tables
is the same error, so that it cancels where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.composition.k_factors.table import RELATIVE_ERROR, own_error_name
from eds_xr.composition.uncertainty.effects import ERROR
from eds_xr.schema import LINE

#: Smaller modes than this are left out [relative].
_NOTHING = 1e-15


def with_modes(table: xr.Dataset, kind: str, names: Sequence[str], modes: np.ndarray) -> xr.Dataset:
    """Return a table with these errors [error, line], and the standard deviations they make.

    Errors that do nothing are left out; without any, every factor is exact.
    """
    some = np.abs(modes).max(axis=1, initial=0.0) > _NOTHING
    kept, modes = [n for n, s in zip(names, some, strict=True) if s], modes[some]
    deviation = table[kind].values * np.sqrt((modes**2).sum(axis=0))
    table = table.assign(standard_deviation=table.standard_deviation.copy(data=deviation))
    if not kept:
        return table
    about = {"long_name": "what one standard deviation does to the factor", "units": "1"}
    made = table.assign({RELATIVE_ERROR: ((ERROR, LINE), modes, about)})
    return made.assign_coords({ERROR: np.array(kept, dtype=object).astype(str)})


def modes_of(table: xr.Dataset, kind: str) -> tuple[list[str], np.ndarray]:
    """Return the errors of a table and their names; one of its own for each line without them."""
    if RELATIVE_ERROR in table:
        modes = table[RELATIVE_ERROR].transpose(ERROR, LINE)
        return [str(n) for n in modes[ERROR].values], modes.values.astype(float)
    relative = table.standard_deviation.values / table[kind].values
    # one standard deviation more mass a count, whichever the kind
    sign = -1.0 if kind == "cross_section" else 1.0
    return [own_error_name(table, str(n)) for n in table[LINE].values], np.diag(sign * relative)


def symmetric_root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric root of a covariance: columns are independent errors, one a line."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
