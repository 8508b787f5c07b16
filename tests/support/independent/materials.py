"""Materials that electron microscopists meet, and pairs of elements whose lines coincide.

Compositions in atoms. Density [g/cm^3], rounded.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Material:
    """A composition in atoms, and its density."""

    name: str
    kind: str
    atoms: dict[str, float]
    density_g_cm3: float


def _of(kind: str, name: str, density: float, **atoms: float) -> Material:
    return Material(name, kind, atoms, density)


MATERIALS = (
    _of("steel", "stainless steel 304", 8.0, Fe=68, Cr=20, Ni=9, Mn=2, Si=1),
    _of("steel", "stainless steel 316", 8.0, Fe=66, Cr=18, Ni=11, Mo=1.5, Mn=1.8, Si=1),
    _of("steel", "TWIP steel", 7.8, Fe=74, Mn=22, Al=3, C=1),
    _of("steel", "electrical steel", 7.7, Fe=93.5, Si=6.5),
    _of("superalloy", "Inconel 718", 8.2, Ni=52, Cr=21, Fe=19, Nb=3.2, Mo=1.8, Ti=1.1, Al=1.1),
    _of("superalloy", "CMSX-4", 8.7, Ni=63, Cr=7.6, Co=9.3, Al=12.6, Ti=1.3, Ta=2.2, W=2.0, Re=1.0,
        Mo=0.4),
    _of("alloy", "Ti-6Al-4V", 4.4, Ti=86, Al=10.3, V=3.7),
    _of("alloy", "high-entropy alloy", 7.9, Cr=20, Mn=20, Fe=20, Co=20, Ni=20),
    _of("alloy", "Mg-Zn-Y alloy", 2.0, Mg=94, Zn=4, Y=2),
    _of("oxide", "spinel", 3.6, Mg=1, Al=2, O=4),
    _of("oxide", "rutile", 4.2, Ti=1, O=2),
    _of("oxide", "yttria-stabilised zirconia", 6.0, Zr=0.84, Y=0.16, O=1.92),
    _of("oxide", "haematite", 5.2, Fe=2, O=3),
    _of("oxide", "zinc oxide", 5.6, Zn=1, O=1),
    _of("nitride", "gallium nitride", 6.1, Ga=1, N=1),
    _of("nitride", "silicon nitride", 3.2, Si=3, N=4),
    _of("nitride", "titanium aluminium nitride", 4.5, Ti=0.5, Al=0.5, N=1),
    _of("sulphide", "molybdenite", 5.0, Mo=1, S=2),
    _of("sulphide", "galena", 7.5, Pb=1, S=1),
    _of("sulphide", "chalcopyrite", 4.2, Cu=1, Fe=1, S=2),
    _of("III-V", "gallium arsenide", 5.3, Ga=1, As=1),
    _of("III-V", "InGaAs", 5.5, In=0.53, Ga=0.47, As=1),
    _of("III-V", "indium phosphide", 4.8, In=1, P=1),
    _of("perovskite", "barium titanate", 6.0, Ba=1, Ti=1, O=3),
    _of("perovskite", "strontium titanate", 5.1, Sr=1, Ti=1, O=3),
    _of("perovskite", "LSMO", 6.5, La=0.7, Sr=0.3, Mn=1, O=3),
    _of("perovskite", "lead halide perovskite", 4.8, Cs=1, Pb=1, Br=3),
    _of("catalyst", "Pt on alumina", 3.9, Al=38, O=57, Pt=5),
    _of("catalyst", "Ni-Co on ceria", 7.0, Ce=30, O=60, Ni=6, Co=4),
    _of("catalyst", "Au-Pd on titania", 4.5, Ti=31, O=62, Au=4, Pd=3),
    _of("phosphate", "lithium iron phosphate", 3.6, Fe=1, P=1, O=4),
    _of("phosphate", "apatite", 3.2, Ca=5, P=3, O=12.5, F=0.5),
    _of("phosphate", "monazite", 5.2, Ce=0.45, La=0.25, Nd=0.2, Th=0.1, P=1, O=4),
    _of("garnet", "YAG, doped", 4.6, Y=2.8, Yb=0.2, Al=5, O=12),
    _of("garnet", "almandine-pyrope", 4.0, Fe=1.8, Mg=1.0, Ca=0.2, Al=2, Si=3, O=12),
    _of("garnet", "LLZO", 5.2, La=3, Zr=1.7, Ta=0.3, O=12),
    _of("actinide", "uranium dioxide", 10.9, U=1, O=2),
    _of("actinide", "thorite", 6.7, Th=1, Si=1, O=4),
    _of("silicate", "hafnon", 6.9, Hf=1, Si=1, O=4),
    _of("magnet", "Nd-Fe-B", 7.6, Nd=2, Fe=14, B=1, Dy=0.2),
)  # fmt: skip

#: The classical overlaps: the lines that coincide, and a sample with both.
OVERLAPS = {
    "Na/Zn": _of("overlap", "Na K, Zn L", 4.0, Na=1, Zn=1, O=2),
    "Mg/As": _of("overlap", "Mg K, As L", 4.0, Mg=1, As=1, O=2),
    "Si/W": _of("overlap", "Si K, W M", 9.0, Si=2, W=1),
    "Si/Ta": _of("overlap", "Si K, Ta M", 8.0, Si=2, Ta=1),
    "P/Zr": _of("overlap", "P K, Zr L", 3.5, P=1, Zr=1, O=4),
    "S/Mo/Pb": _of("overlap", "S K, Mo L, Pb M", 6.0, S=2, Mo=1, Pb=0.5),
    "Ti/Ba": _of("overlap", "Ti K, Ba L", 6.0, Ti=1, Ba=1, O=3),
    "Cr/Mn/Fe": _of("overlap", "Cr Kb, Mn Kb", 7.8, Cr=1, Mn=1, Fe=2),
    "rare-earth L": _of("overlap", "La to Sm L", 5.2, La=1, Ce=2, Pr=0.5, Nd=1, Sm=0.5, P=5, O=20),
}


def by_name(name: str) -> Material:
    """Return a material of the catalogue."""
    return next(m for m in MATERIALS if m.name == name)
