"""The names of pixel features, and how far each looks: Weka's filters with its parameters.

Features that come out of one filter form a group. Nothing is computed here; :mod:`feature_values`
does it, tile by tile. `scales` are Weka's: the radius of discs, the distance of neighbours, the
standard deviation of Gaussian derivatives, and 2.5 times that of the Gaussian of the default kinds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

#: Standard deviation of the Gaussian of the default kinds, in pixels, at scale 1.
SIGMA_PER_SCALE = 0.4
#: Blurred images reach this much further, so that both derivatives can be taken of them.
EDGE = 2
#: Of a Gaussian, in standard deviations; of its derivatives up to the fifth, of a bilateral filter.
REACH_SIGMAS, DERIVATIVE_SIGMAS, BILATERAL_SIGMAS = 4.0, 5.0, 3.0
#: Side of the patches for lines, in pixels, and number of directions over half a turn.
PATCH, DIRECTIONS = 19, 10
DIFFUSION_STEPS = 20
INTEGRATION_SIGMAS = (1, 3)
#: Channels are stretched to this many grey levels where Weka takes 8-bit images.
GREY_LEVELS = 255.0

HESSIAN = (
    "module", "trace", "determinant", "eig1", "eig2", "orientation", "square_difference",
    "normalized_difference",
)  # fmt: skip
PROJECTIONS = ("mean", "max", "min", "sum", "std", "median")
COMPASS = ("nw", "n", "ne", "w", "e", "sw", "s", "se")
CRITERIA = ("variance", "variance_by_mean", "variance_by_square")

Scales = Sequence[float]


class Group(NamedTuple):
    """Features that are computed together; `reach`: how many pixels away they look."""

    kind: str
    parameters: tuple[float, ...]
    names: tuple[str, ...]
    reach: int


def groups(kinds: Iterable[str], scales: Scales) -> list[Group]:
    """Return the groups of some kinds of features at some scales, in this order."""
    return [group for kind in kinds for group in KINDS[kind](scales)]


def scales_in(names: Iterable[str]) -> tuple[float, ...]:
    """Return all numbers in names of features: among them are their scales.

    Examples
    --------
    >>> scales_in(["dog_2_8", "membrane_mean"])
    (2.0, 8.0)
    """
    parts = {part for name in names for part in name.split("_")}
    return tuple(sorted({float(p) for p in parts if p.replace(".", "", 1).isdigit()} - {0.0}))


def uses_grey_levels(group: Group) -> bool:
    """Tell whether a group needs to know the lowest and the highest value of the whole image."""
    return group.kind in ("anisotropic_diffusion", "bilateral", "lipschitz", "kuwahara", "entropy")


def gaussian_radius(sigma: float, sigmas: float = REACH_SIGMAS) -> int:
    """Return where a Gaussian is cut off [pixels]."""
    return int(sigmas * sigma + 0.5)


def disc_radius(scale: float) -> int:
    """Return how far a disc of :func:`feature_values.disc` reaches [pixels]."""
    return math.isqrt(int(scale * scale + 1))


def neighbour_distance(scale: float) -> int:
    """Return the distance of neighbours [pixels], along rows and columns."""
    return max(1, round(scale))


def _blur_reach(scale: float) -> int:
    return gaussian_radius(SIGMA_PER_SCALE * scale) + EDGE


def _intensity(scales: Scales) -> list[Group]:
    return [Group("intensity", (), ("intensity",), 0)]


def _gaussian(scales: Scales) -> list[Group]:
    return [Group("gaussian", (s,), (f"gaussian_{s:g}",), _blur_reach(s)) for s in scales]


def _sobel(scales: Scales) -> list[Group]:
    return [Group("sobel", (s,), (f"sobel_{s:g}",), _blur_reach(s)) for s in (0.0, *scales)]


def _hessian(scales: Scales) -> list[Group]:
    return [
        Group("hessian", (s,), tuple(f"hessian_{k}_{s:g}" for k in HESSIAN), _blur_reach(s))
        for s in (0.0, *scales)
    ]


def _difference_of_gaussians(scales: Scales) -> list[Group]:
    return [
        Group("difference_of_gaussians", (i, j), (f"dog_{i:g}_{j:g}",), _blur_reach(j))
        for i, j in itertools.combinations(sorted(scales), 2)
    ]


def _membrane(scales: Scales) -> list[Group]:
    return [Group("membrane", (), tuple(f"membrane_{k}" for k in PROJECTIONS), PATCH // 2)]


def _disc(kind: str) -> Callable[[Scales], list[Group]]:
    def made(scales: Scales) -> list[Group]:
        return [Group(kind, (s,), (f"{kind}_{s:g}",), disc_radius(s)) for s in scales]

    return made


def _anisotropic_diffusion(scales: Scales) -> list[Group]:
    return [
        Group(
            "anisotropic_diffusion",
            (s, along),
            (f"diffusion_{s:g}_{along:g}",),
            _blur_reach(s) + DIFFUSION_STEPS,
        )
        for s, along in itertools.product(scales, (0.1, 0.35))
    ]


def _bilateral(scales: Scales) -> list[Group]:
    return [
        Group(
            "bilateral", (s, r), (f"bilateral_{s}_{r}",), gaussian_radius(s, BILATERAL_SIGMAS)
        )
        for s, r in itertools.product((5, 10), (50, 100))
    ]  # fmt: skip


def _lipschitz(scales: Scales) -> list[Group]:
    return [
        Group("lipschitz", (slope,), (f"lipschitz_{slope}",), math.ceil(GREY_LEVELS / slope))
        for slope in (5, 10, 15, 20, 25)
    ]


def _kuwahara(scales: Scales) -> list[Group]:
    return [Group("kuwahara", (), tuple(f"kuwahara_{c}" for c in CRITERIA), 2 * (PATCH // 2))]


def _gabor(scales: Scales) -> list[Group]:
    fine = [(1.0, gamma, q, 2) for q in (0, 1) for gamma in (1.0, 0.5, 0.25)]
    coarse = itertools.product((2.0, 4.0), (1.0, 2.0), (0, 1), (2, 3))
    return [
        Group(
            "gabor",
            (sigma, gamma, q, f),
            tuple(f"gabor_{k}_{sigma:g}_{gamma:g}_{90 * q}_{f}" for k in ("max", "min")),
            3 * max(1, int(max(sigma, sigma / gamma))),
        )
        for sigma, gamma, q, f in (*fine, *coarse)
    ]


def _derivatives(scales: Scales) -> list[Group]:
    return [
        Group(
            "derivatives",
            (s, order),
            (f"derivative_{order}_{s:g}",),
            gaussian_radius(s, DERIVATIVE_SIGMAS),
        )
        for s, order in itertools.product(scales, range(2, 6))
    ]


def _laplacian(scales: Scales) -> list[Group]:
    return [
        Group("laplacian", (s,), (f"laplacian_{s:g}",), gaussian_radius(s, DERIVATIVE_SIGMAS))
        for s in scales
    ]


def _structure_tensor(scales: Scales) -> list[Group]:
    parts = tuple(itertools.product(INTEGRATION_SIGMAS, ("largest", "smallest")))
    window = gaussian_radius(max(INTEGRATION_SIGMAS))
    return [
        Group(
            "structure_tensor",
            (s,),
            tuple(f"structure_{k}_{s:g}_{i}" for i, k in parts),
            gaussian_radius(s, DERIVATIVE_SIGMAS) + window,
        )
        for s in scales
    ]


def _entropy(scales: Scales) -> list[Group]:
    return [
        Group("entropy", (s, bins), (f"entropy_{s:g}_{bins}",), disc_radius(s))
        for s, bins in itertools.product(scales, (32, 64, 128, 256))
    ]


def _neighbours(scales: Scales) -> list[Group]:
    return [
        Group(
            "neighbours",
            (s,),
            tuple(f"neighbour_{c}_{s:g}" for c in COMPASS),
            neighbour_distance(s),
        )
        for s in scales
    ]


#: Every kind of feature; first those that are on by default.
KINDS: dict[str, Callable[[Scales], list[Group]]] = {
    "intensity": _intensity,
    "gaussian": _gaussian,
    "sobel": _sobel,
    "hessian": _hessian,
    "difference_of_gaussians": _difference_of_gaussians,
    "membrane": _membrane,
    "variance": _disc("variance"),
    "mean": _disc("mean"),
    "minimum": _disc("minimum"),
    "maximum": _disc("maximum"),
    "median": _disc("median"),
    "anisotropic_diffusion": _anisotropic_diffusion,
    "bilateral": _bilateral,
    "lipschitz": _lipschitz,
    "kuwahara": _kuwahara,
    "gabor": _gabor,
    "derivatives": _derivatives,
    "laplacian": _laplacian,
    "structure_tensor": _structure_tensor,
    "entropy": _entropy,
    "neighbours": _neighbours,
}
