"""Ionisation of inner shells by fast electrons, after Bote and Salvat.

Bote, Salvat, Jablonski and Powell (At. Data Nucl. Data Tables 95 (2009) 871) give distorted-wave
cross-sections by ten numbers a sub-shell of each element. A microscope asks for beams of 60 to
300 keV on edges of 0.1 to 20 keV at overvoltages above 3 only. There their values, as coded in
NIST's BoteSalvatICX.jl (public domain), were fitted here by Bethe's law with two parameters that
are cubics of the logarithm of the edge energy ``E`` [keV]::

    sigma = exp(a(ln E)) / beta^2 * (ln(beta^2 / (1 - beta^2)) - beta^2 + c(ln E))   [barn]

Root mean square (largest) departure of this fit from them: 1 % (5 %) for K, L and M1 to M3, 3 %
(13 %, at edges near 0.1 keV) for M4 and M5. Their own uncertainty is about 10 %. M edges below
0.1 keV, which emit nothing that a detector sees, are extrapolated.
"""

import numpy as np

BARN_M2 = 1e-28
REST_KEV = 510.99895

#: Coefficients of a and of c, constant first.
_FIT = {
    "K": ((5.6201, -0.9452, 0.0031, 0.0034), (6.8909, -1.5814, 0.0468)),
    "L1": ((5.2679, -0.8992, -0.0201, 0.0085), (7.4859, -1.6729, 0.0371)),
    "L2": ((5.7580, -1.0671, -0.0017, 0.0114), (6.6794, -1.0965, -0.0640)),
    "L3": ((6.4447, -1.0790, -0.0025, 0.0120), (6.7263, -1.0552, -0.0695)),
    "M1": ((4.9942, -0.7710, -0.0790, -0.0090), (8.0063, -2.1797, 0.3571)),
    "M2": ((5.2918, -0.8567, -0.0869, 0.0083), (7.5191, -1.6471, 0.1359)),
    "M3": ((6.0756, -0.8397, -0.0779, 0.0112), (7.3378, -1.6035, 0.1358)),
    "M4": ((6.7457, -1.0771, -0.0846, 0.0232), (6.1694, -0.9098, 0.0773)),
    "M5": ((7.1495, -1.0860, -0.0894, 0.0216), (6.1865, -0.8785, 0.0865)),
}
SHELLS = tuple(_FIT)
LEAST_OVERVOLTAGE = 3.0


def ionisation_barn(shell: str, edge_kev: float, beam_kev: float) -> float:
    """Return the cross-section of a full sub-shell [barn]; 0 where the fit does not reach.

    So K lines of heavy elements, far beyond the energy axis, are left out.
    """
    if not 60 <= beam_kev <= 300:
        raise ValueError(f"the fit holds for beams of 60 to 300 keV, asked for {beam_kev}")
    if beam_kev < LEAST_OVERVOLTAGE * edge_kev:
        return 0.0
    beta2 = beam_kev * (beam_kev + 2 * REST_KEV) / (beam_kev + REST_KEV) ** 2
    place = np.log(edge_kev)
    a, c = (np.polynomial.polynomial.polyval(place, part) for part in _FIT[shell])
    return float(np.exp(a) / beta2 * (np.log(beta2 / (1 - beta2)) - beta2 + c))
