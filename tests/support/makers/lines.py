"""Net counts as ``fit_lines`` gives them."""

import numpy as np
import xarray as xr


def lines_of(net, covariance=None, names=(), **attrs):
    """Return lines [line] or [phase, line]; counts of their own variance by default."""
    net = np.asarray(net, float)
    if covariance is None:
        covariance = np.abs(net)[..., None] * np.eye(net.shape[-1])
    lead = ("phase",) * (net.ndim - 1)
    data = {
        "net": ((*lead, "line"), net),
        "covariance": ((*lead, "line", "line_other"), np.asarray(covariance)),
    }
    attrs = {"beam_energy_kev": 200.0, **attrs}
    return xr.Dataset(data, {"line": list(names), "line_other": list(names)}, attrs)
