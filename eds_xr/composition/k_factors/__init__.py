"""Sensitivity factors: k-factors, zeta-factors and cross-sections; read, written, converted."""

from eds_xr.composition.k_factors.combination import combine
from eds_xr.composition.k_factors.counts import StandardWarning
from eds_xr.composition.k_factors.factors import (
    cross_sections_from_zeta,
    k_factors,
    k_factors_from_zeta,
    read_cross_sections,
    read_k_factors,
    read_zeta_factors,
    write_k_factors,
    zeta_from_cross_sections,
    zeta_from_k_factors,
)
from eds_xr.composition.k_factors.standardless import (
    standardless_cross_sections,
    standardless_k_factors,
)
from eds_xr.composition.k_factors.standards import from_standard, zeta_from_standard
from eds_xr.xray.elements import atomic_mass

__all__ = [
    "StandardWarning",
    "atomic_mass",
    "combine",
    "cross_sections_from_zeta",
    "from_standard",
    "k_factors",
    "k_factors_from_zeta",
    "read_cross_sections",
    "read_k_factors",
    "read_zeta_factors",
    "standardless_cross_sections",
    "standardless_k_factors",
    "write_k_factors",
    "zeta_from_cross_sections",
    "zeta_from_k_factors",
    "zeta_from_standard",
]
