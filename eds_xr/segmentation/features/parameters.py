"""Weka's parameters of the filters, and where a Gaussian is cut off."""

from __future__ import annotations

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


def gaussian_radius(sigma: float, sigmas: float = REACH_SIGMAS) -> int:
    """Return where a Gaussian is cut off [pixels]."""
    return int(sigmas * sigma + 0.5)
