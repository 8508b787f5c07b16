"""Grains and particles: outlines seen along the beam, and the length of each phase along it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from support.independent.materials import Material


@dataclass(frozen=True)
class Grain:
    """An outline, in shares of the field: ellipse, or polygon of so many corners; lens-shaped.

    ``depth`` is the thickness of its middle over that of the foil, or of the film that it lies on.
    ``core`` is the share of radius and thickness that ``core_material`` fills (core-shell).
    """

    material: Material
    centre: tuple[float, float]
    radii: tuple[float, float]
    angle_deg: float = 0.0
    depth: float = 1.0
    corners: int = 0
    core: float = 0.0
    core_material: Material | None = None


def scatter(
    materials: Sequence[Material],
    count: int,
    *,
    seed: int,
    radii: tuple[float, float] = (0.05, 0.12),
) -> list[Grain]:
    """Return grains of each material in turn at random places, ellipses and polygons."""
    rng = np.random.default_rng(seed)
    return [
        Grain(
            materials[i % len(materials)],
            centre=tuple(rng.uniform(0.05, 0.95, 2)),
            radii=tuple(rng.uniform(*radii, 2)),
            angle_deg=rng.uniform(0, 180),
            depth=rng.uniform(0.4, 1.0),
            corners=int(rng.choice([0, 4, 5, 6])),
        )
        for i in range(count)
    ]


def phases_of(matrix: Material, grains: Sequence[Grain]) -> list[Material]:
    """Return the materials of a scene, the matrix first."""
    inner = [g.core_material for g in grains if g.core_material is not None]
    every = [matrix, *(g.material for g in grains), *inner]
    return list({m.name: m for m in every}.values())


def lengths_nm(
    phases: list[Material], grains: Sequence[Grain], shape: tuple[int, int], thickness_nm: float,
    wedge: float, on_film: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the length of each phase along the beam [phase, y, x; nm], and their sum [y, x].

    Within a foil, a wedge, grains replace matrix; `on_film` they add to it.
    """
    names = [p.name for p in phases]
    slope = 1 + wedge * np.linspace(-0.5, 0.5, shape[1])
    base = thickness_nm * np.broadcast_to(slope, shape)
    length = np.zeros((len(phases), *shape))
    for grain in grains:
        whole = grain.depth * _lens(grain, shape)
        inner = grain.depth * grain.core * _lens(grain, shape, grain.core) if grain.core else 0.0
        length[names.index(grain.material.name)] += base * (whole - inner)
        if grain.core_material is not None:
            length[names.index(grain.core_material.name)] += base * inner
    if not on_film:  # grains that meet share the thickness
        length /= np.maximum(1.0, length.sum(0) / base)
    length[0] += base if on_film else np.maximum(0.0, base - length.sum(0))
    return length, length.sum(0)


def _lens(grain: Grain, shape: tuple[int, int], scale: float = 1.0) -> np.ndarray:
    """Return the thickness of a lens within an outline, 1 in its middle."""
    y, x = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    angle = np.radians(grain.angle_deg)
    dy, dx = y - grain.centre[0], x - grain.centre[1]
    along = (np.cos(angle) * dx + np.sin(angle) * dy) / (scale * grain.radii[0])
    across = (-np.sin(angle) * dx + np.cos(angle) * dy) / (scale * grain.radii[1])
    if not grain.corners:
        return np.sqrt(np.clip(1 - along**2 - across**2, 0, None))
    turns = 2 * np.pi * np.arange(grain.corners) / grain.corners
    sides = np.max([np.cos(t) * along + np.sin(t) * across for t in turns], axis=0)
    return np.sqrt(np.clip(1 - np.clip(sides, 0, None) ** 4, 0, None))


def dead_pixels(shape: tuple[int, int], dead: int, seed: int) -> np.ndarray:
    """Return which pixels count nothing [y, x]."""
    found = np.zeros(shape[0] * shape[1], bool)
    found[np.random.default_rng((seed, 1)).choice(found.size, dead, replace=False)] = True
    return found.reshape(shape)
