"""Sensitivity factors: k-factors, zeta-factors and cross-sections; read, written, converted."""

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
from eds_xr.xray.elements import atomic_mass

__all__ = [
    "atomic_mass",
    "cross_sections_from_zeta",
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
]
