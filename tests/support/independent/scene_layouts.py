"""What lies along the beam in each of the twelve scenes: materials, lengths, hosts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from support.independent.grains import Grain, lengths_nm, phases_of
from support.independent.layouts import gradient, lamellae, layers, mosaic
from support.independent.materials import Material
from support.independent.materials import by_name as known
from support.independent.spectra import STRAYS

Shape = tuple[int, int]
Range = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Phases and their lengths [phase, y, x; nm], and what a result should find and say.

    ``hosts``: what a phase lies in or on. ``continua``: end members that mix without a step, by
    the name of what they make together.
    """

    phases: Sequence[Material]
    length_nm: np.ndarray
    hosts: Mapping[str, str] = field(default_factory=dict)
    continua: Mapping[str, Sequence[str]] = field(default_factory=dict)
    must_say: Sequence[str] = ()
    strays: Mapping[str, float] = field(default_factory=lambda: STRAYS)
    drift: float = 0.05
    dead: int = 0


def _material(name: str, density: float, **atoms: float) -> Material:
    return Material(name, "scene", atoms, density)


CARBON = _material("carbon film", 1.9, C=1)


def _grains(
    material: Material,
    count: int,
    rng: np.random.Generator,
    shape: Shape,
    *,
    radius_px: Range,
    aspect: Range = (1.0, 1.6),
    depth: Range = (0.5, 1.0),
    places: np.ndarray | None = None,
    core: Material | None = None,
) -> list[Grain]:
    """Return grains of one material, their radii in pixels, at random places or at those given."""
    made = []
    for i in range(count):
        place = rng.uniform(0.02, 0.98, 2) if places is None else places[i]
        radius = rng.uniform(*radius_px)
        radii = np.array([radius * rng.uniform(*aspect), radius]) / max(shape)
        made.append(
            Grain(
                material, tuple(place), tuple(radii), rng.uniform(0, 180), rng.uniform(*depth),
                int(rng.choice([0, 0, 4, 5, 6])), rng.uniform(0.45, 0.75) if core else 0.0, core,
            )
        )  # fmt: skip
    return made


def _count(shape: Shape, per_pixels: float, least: int = 4) -> int:
    """Return how many features a field holds, one to so many pixels."""
    return max(least, round(shape[0] * shape[1] / per_pixels))


def _embedded(
    matrix: Material, grains: Sequence[Grain], shape: Shape, *, nm: float, wedge: float = 0.3
) -> Layout:
    """Return grains within a foil of matrix."""
    phases = phases_of(matrix, grains)
    length, _ = lengths_nm(phases, grains, shape, nm, wedge, on_film=False)
    return Layout(phases, length, hosts={p.name: matrix.name for p in phases[1:]})


def _on_film(
    grains: Sequence[Grain], shape: Shape, hosts: Mapping[str, str], strays: Mapping[str, float]
) -> Layout:
    """Return particles on a film of carbon."""
    phases = phases_of(CARBON, grains)
    length, _ = lengths_nm(phases, grains, shape, 15.0, 0.0, on_film=True)
    return Layout(phases, length, hosts=hosts, strays=strays)


def _side_by_side(
    phases: Sequence[Material], shares: np.ndarray, rng: np.random.Generator, **more: object
) -> Layout:
    """Return a foil that shares of its thickness fill, a wedge."""
    wedge = 1 + rng.uniform(-0.3, 0.3) * np.linspace(-0.5, 0.5, shares.shape[2])
    return Layout(phases, rng.uniform(60, 120) * wedge * shares, **more)  # type: ignore[arg-type]


def precipitates(rng: np.random.Generator, shape: Shape) -> Layout:
    """Plates and blocks in an aluminium, or a nickel, alloy."""
    if rng.uniform() < 0.6:
        matrix = _material("Al matrix", 2.7, Al=97.5, Mg=1.5, Si=1.0)
        plate = _material("Mg2Si", 2.0, Mg=2, Si=1)
        block = _material("Al15(FeMn)3Si2", 3.6, Al=15, Fe=2, Mn=1, Si=2)
    else:
        matrix = _material("Ni matrix", 8.4, Ni=68, Cr=22, Co=10)
        plate = _material("Ni3Nb", 8.9, Ni=3, Nb=1)
        block = _material("gamma prime", 7.9, Ni=74, Al=17, Ti=7, Cr=2)
    few = _count(shape, 900)
    grains = _grains(plate, few, rng, shape, radius_px=(1.5, 3.5), aspect=(3, 7))
    grains += _grains(block, few, rng, shape, radius_px=(3, 9))
    return _embedded(matrix, grains, shape, nm=rng.uniform(60, 120))


def core_shell(rng: np.random.Generator, shape: Shape) -> Layout:
    """Particles of two phases, one within the other, on a film of carbon."""
    pairs = (
        (_material("FePt", 14.0, Fe=1, Pt=1), _material("Fe3O4", 5.2, Fe=3, O=4)),
        (_material("gold", 19.3, Au=1), _material("silica", 2.2, Si=1, O=2)),
        (_material("CdSe", 5.8, Cd=1, Se=1), _material("ZnS", 4.1, Zn=1, S=1)),
        (_material("cobalt", 8.9, Co=1), known("rutile")),
    )
    core, shell = pairs[rng.integers(len(pairs))]
    grains = _grains(
        shell, _count(shape, 1500), rng, shape, radius_px=(6, 14), aspect=(1, 1.2), depth=(1.5, 3),
        core=core,
    )  # fmt: skip
    return _on_film(grains, shape, {shell.name: CARBON.name, core.name: shell.name}, {"Cu": 0.06})


def catalyst(rng: np.random.Generator, shape: Shape) -> Layout:
    """Small metal particles on agglomerates of an oxide, these on a film of carbon."""
    oxide = (
        _material("ceria", 7.2, Ce=1, O=2), known("rutile"), _material("alumina", 3.9, Al=2, O=3),
    )[rng.integers(3)]  # fmt: skip
    metal = (
        _material("platinum", 21.4, Pt=1), _material("AuPd", 16.0, Au=1, Pd=1),
        _material("nickel", 8.9, Ni=1),
    )[rng.integers(3)]  # fmt: skip
    lumps = _grains(oxide, _count(shape, 2500), rng, shape, radius_px=(10, 22), depth=(3, 6))
    places = []
    for lump in lumps:
        turn, far = rng.uniform(0, 2 * np.pi, 8), 0.75 * np.sqrt(rng.uniform(0, 1, 8))
        reach = far[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1) * min(lump.radii)
        places.append(np.asarray(lump.centre) + reach)
    where = np.concatenate(places)
    metals = _grains(
        metal, len(where), rng, shape, radius_px=(1.0, 3.5), aspect=(1, 1.2), depth=(0.5, 1.2),
        places=where,
    )  # fmt: skip
    hosts = {oxide.name: CARBON.name, metal.name: oxide.name}
    return _on_film(lumps + metals, shape, hosts, {"Cu": 0.06})


def layered_device(rng: np.random.Generator, shape: Shape) -> Layout:
    """Layers on a substrate: a gate stack, or a light-emitting diode; no matrix."""
    if rng.uniform() < 0.5:
        phases = [
            _material("tungsten", 19.3, W=1), _material("TiN", 5.4, Ti=1, N=1),
            _material("hafnia", 9.7, Hf=1, O=2), _material("silica", 2.2, Si=1, O=2),
            _material("silicon", 2.33, Si=1),
        ]  # fmt: skip
    else:
        phases = [
            _material("gold", 19.3, Au=1), _material("nickel", 8.9, Ni=1), known("gallium nitride"),
            _material("InGaN", 6.2, In=0.2, Ga=0.8, N=1), _material("sapphire", 4.0, Al=2, O=3),
        ]  # fmt: skip
    thick = rng.uniform(0.5, 1.5, len(phases))
    thick *= shape[0] / thick.sum()
    slant = rng.uniform(1.5, 4)
    shares = layers(shape, thick, rng, slant_px=slant, roughness_px=rng.uniform(0.3, 2))
    return _side_by_side(phases, shares, rng)


def steel_with_carbides(rng: np.random.Generator, shape: Shape) -> Layout:
    """M23C6, NbC and now and then MnS in a chromium steel."""
    matrix = _material("steel", 7.8, Fe=88, Cr=9, Mn=1, Mo=1, Si=1)
    m23c6 = _material("M23C6", 7.0, Cr=15, Fe=6, Mo=2, C=6)
    nbc = _material("NbC", 7.8, Nb=0.9, Ti=0.1, C=1)
    grains = _grains(m23c6, _count(shape, 1100), rng, shape, radius_px=(3, 8), aspect=(1, 2.5))
    grains += _grains(nbc, _count(shape, 1600), rng, shape, radius_px=(1.5, 5))
    if rng.uniform() < 0.5:
        mns = _material("MnS", 4.0, Mn=1, S=1)
        grains += _grains(mns, _count(shape, 6000, 2), rng, shape, radius_px=(5, 9))
    return _embedded(matrix, grains, shape, nm=rng.uniform(60, 110))


def eutectic(rng: np.random.Generator, shape: Shape) -> Layout:
    """Lamellae of two phases, neither the matrix."""
    pairs = (
        (_material("alumina", 3.9, Al=2, O=3), known("yttria-stabilised zirconia")),
        (_material("Ag", 10.4, Ag=96, Ge=4), _material("Ge", 5.3, Ge=1)),
        (_material("NiAl", 5.9, Ni=1, Al=1), _material("Cr-Mo", 7.6, Cr=88, Mo=12)),
        (_material("Sn-rich", 7.3, Sn=98, Pb=2), _material("Pb-rich", 11.0, Pb=72, Sn=28)),
    )
    pair = pairs[rng.integers(len(pairs))]
    period, share = rng.uniform(12, 26), rng.uniform(0.35, 0.6)
    shares = lamellae(shape, period, share, rng, slant_px=rng.uniform(1.5, 5))
    return _side_by_side(pair, shares, rng)


def perovskite_film(rng: np.random.Generator, shape: Shape) -> Layout:
    """A halide film whose halogens change with depth, between an electrode and an oxide."""
    bromide = _material("CsPbBr3", 4.8, Cs=1, Pb=1, Br=3)
    iodide = _material("CsPbI3", 5.3, Cs=1, Pb=1, I=3)
    phases = [_material("silver", 10.5, Ag=1), bromide, iodide, known("rutile")]
    film = rng.uniform(0.4, 0.6)
    above = rng.uniform(0.15, 0.25)
    heights = shape[0] * np.array([above, film, 1 - film - above])
    silver, halide, oxide = layers(shape, heights, rng, slant_px=2.0)
    mixed = gradient(shape, (rng.uniform(0.0, 0.15), rng.uniform(0.85, 1.0)))
    shares = np.stack([silver, halide * mixed[0], halide * mixed[1], oxide])
    made = {"halide": ("CsPbBr3", "CsPbI3")}
    return _side_by_side(phases, shares, rng, continua=made, must_say=("continuum",))


def two_olivines(rng: np.random.Generator, shape: Shape) -> Layout:
    """Two olivines of nearly the same composition, in large grains side by side."""
    rich = rng.uniform(0.10, 0.2)
    rest = {"Si": 1.0, "O": 4.0}
    first = Material("Mg-rich olivine", "scene", {"Mg": 1.8, "Fe": 0.2} | rest, 3.3)
    iron = 0.2 + 2 * rich
    second = Material("Fe-rich olivine", "scene", {"Mg": 2 - iron, "Fe": iron} | rest, 3.4)
    shares = mosaic(shape, _count(shape, 1800, 6), (0.6, 0.4), rng, slant_px=3)
    return _side_by_side((first, second), shares, rng)


def wedge(rng: np.random.Generator, shape: Shape) -> Layout:
    """One phase, thrice as thick on one side, its background drifting, some pixels dead."""
    choices = ("spinel", "gallium arsenide", "stainless steel 304", "barium titanate", "apatite")
    material = known(choices[rng.integers(len(choices))])
    slope = np.linspace(rng.uniform(30, 60), rng.uniform(120, 180), shape[1])
    length = np.broadcast_to(slope, (1, *shape)).copy()
    return Layout([material], length, must_say=("one phase",), drift=0.05, dead=6)


def small_grains(rng: np.random.Generator, shape: Shape) -> Layout:
    """Grains of a few pixels of two or three phases side by side."""
    phases = [
        known("barium titanate"), _material("Co ferrite", 5.3, Co=1, Fe=2, O=4),
        _material("magnesia", 3.6, Mg=1, O=1),
    ][: rng.integers(2, 4)]  # fmt: skip
    size = rng.uniform(4, 8)
    shares = mosaic(shape, _count(shape, size**2), rng.uniform(0.5, 1, len(phases)), rng)
    return _side_by_side(phases, shares, rng)


def five_phases(rng: np.random.Generator, shape: Shape) -> Layout:
    """Four kinds of grain in a matrix, so many that two often lie along the beam."""
    phases = [
        known("apatite"), known("haematite"), known("rutile"), known("hafnon"),
        _material("albite", 2.6, Na=1, Al=1, Si=3, O=8), _material("sphalerite", 4.1, Zn=1, S=1),
    ]  # fmt: skip
    chosen = rng.permutation(len(phases))[:4]
    matrix = _material("diopside", 3.3, Ca=1, Mg=1, Si=2, O=6)
    grains: list[Grain] = []
    for i in chosen:
        many = _count(shape, 2000)
        grains += _grains(phases[i], many, rng, shape, radius_px=(5, 13), depth=(0.4, 0.8))
    order = rng.permutation(len(grains))
    return _embedded(matrix, [grains[i] for i in order], shape, nm=rng.uniform(60, 120))


def line_scan(rng: np.random.Generator, shape: Shape) -> Layout:
    """A line across a multilayer of three phases."""
    phases = [known("strontium titanate"), known("LSMO"), _material("platinum", 21.4, Pt=1)]
    number = int(rng.integers(5, 9))
    order = [int(rng.integers(3))]
    while len(order) < number or len(set(order)) < 3:
        order.append(int(rng.choice([i for i in range(3) if i != order[-1]])))
    thick = rng.uniform(0.6, 1.4, len(order))
    thick *= shape[1] / thick.sum()
    across = layers((shape[1], 1), thick, rng, slant_px=rng.uniform(1, 4), roughness_px=0.0)
    shares = np.zeros((3, *shape))
    for i, part in zip(order, across[:, :, 0], strict=True):
        shares[i, 0] += part
    return _side_by_side(phases, shares, rng)


LAYOUTS: dict[str, Callable[[np.random.Generator, Shape], Layout]] = {
    "precipitates": precipitates,
    "core-shell": core_shell,
    "catalyst": catalyst,
    "layered device": layered_device,
    "steel with carbides": steel_with_carbides,
    "eutectic": eutectic,
    "perovskite film": perovskite_film,
    "two olivines": two_olivines,
    "wedge": wedge,
    "small grains": small_grains,
    "five phases": five_phases,
    "line scan": line_scan,
}
