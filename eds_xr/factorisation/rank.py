"""How many components an image holds, and what they are."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.component_kinds.kinds import NOISE, PHASE_KIND, component_kinds
from eds_xr.factorisation.nmf import nmf
from eds_xr.factorisation.one_read import finest_grid, read_once
from eds_xr.factorisation.rank_evidence import MOST_RANKS, Evidence, rank_evidence, standard_error
from eds_xr.image.stored_sums import summed_pixels
from eds_xr.schema import COMPONENT, EdsError, check_spectrum_image

#: A rank is clear when its eigenvalue is this many times the next one.
CLEAR_GAP = 5.0


@computes
def suggest_rank(
    image: xr.DataArray, *, max_rank: int = 10, seed: int = 0, kinds: xr.Dataset | None = None
) -> xr.Dataset:
    """Suggest how many components stand out of the counting noise, with the evidence.

    Computes: reads `image` once, or its sums of pixels where its store holds them; where more than
    one component is possible, factorises it as :func:`eds_xr.nmf` does by default.

    Two witnesses, both on the binned image. *Eigenvalues*: divided by the root of its expected
    value under independence (Keenan & Kotula 2004, Surf. Interface Anal. 36, 203), counting noise
    has unit variance, and its largest eigenvalue lies at ``(sqrt(pixels) + sqrt(channels))**2``
    (Marchenko & Pastur 1967). *Held-out counts*: each count goes to one of two halves by chance;
    the mean that each rank finds in the first (shrunk as Gavish & Donoho 2017 have it) is scored
    by its Poisson likelihood on the second.

    ``possible`` are the eigenvalues above noise (by four times the scatter of its largest), as
    long as none foretells held-out counts worse than the rank before; so many does ``nmf`` take by
    default. :func:`eds_xr.component_kinds` tells which of them are ``phases``, and which are
    thickness, background, odd pixels. Suggested are the phases with the *inertia* of a main one:
    chi-squared a count, noise taken off (Benaych-Georges & Nadakuditi 2012, J. Multivar. Anal. 111,
    120), of 3.8e-4 at least.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    max_rank : int
        Number of ranks to show. The suggestion does not depend on it.
    seed : int
        Splits the counts.
    kinds : Dataset, optional
        From :func:`eds_xr.component_kinds`, where they are at hand: then nothing is factorised.

    Returns
    -------
    Dataset
        ``eigenvalue`` [component; in units of the edge of noise]; ``inertia`` [component; 1];
        ``held_out`` [component; nats],
        the log-likelihood of a held-out half over that of one component, the mean over splits;
        ``gain``, the same over one component less; ``held_out_error`` and ``gain_error``, their
        standard errors; attributes ``suggested``, ``possible``,
        ``phases``, ``kinds`` and ``reasons`` (of the possible components, as the factorisation
        orders them), ``notes`` and ``continuum`` of :func:`eds_xr.component_kinds`, ``gap``
        (of the suggested eigenvalue over the next) and ``clear`` (1 when the gap is at least 5).

    Raises
    ------
    EdsError
        When `image` is no spectrum image, or holds no counts.
    """
    check_spectrum_image(image)
    if max_rank < 1 or seed < 0:
        raise EdsError(f"expected max_rank >= 1 and seed >= 0, found {max_rank!r} and {seed!r}")
    found = evidence_of(image, seed)
    if kinds is None:
        kinds = component_kinds(nmf(image, found.possible, seed=seed))
    return suggestion(found, kinds, max_rank)


def evidence_of(image: xr.DataArray, seed: int = 0) -> Evidence:
    """Return what speaks for each rank. Computes: reads `image` once, or its stored sums."""
    summed, _ = summed_pixels(as_chunked(image), finest_grid(image.shape).size)
    return rank_evidence(read_once(summed, stream=True).binned, seed=seed)


def suggestion(found: Evidence, kinds: xr.Dataset, max_rank: int = 10) -> xr.Dataset:
    """Return what :func:`suggest_rank` does, of evidence that is at hand."""
    phases = int((kinds["kind"] == PHASE_KIND).sum())
    # of noise the eigenvalues know better than a component's spectrum
    real = phases + int((kinds["kind"] == NOISE).sum())
    return _as_dataset(found, min(max_rank, MOST_RANKS)).assign_attrs(
        suggested=max(1, min(found.suggested, real)),
        phases=phases,
        kinds=kinds["kind"].values.tolist(),
        reasons=kinds["reason"].values.tolist(),
        notes=kinds.attrs["notes"],
        continuum=kinds.attrs["continuum"],
        possible=found.possible,
        gap=found.gap,
        clear=int(found.gap >= CLEAR_GAP),
    )


def _as_dataset(found: Evidence, shown: int) -> xr.Dataset:
    values, gains = found.eigenvalues[:shown], found.gains[:, :shown]
    steps = np.diff(gains, axis=1, prepend=0)
    edge = {"long_name": "eigenvalue over the edge of noise", "units": "1"}
    inertia = {"long_name": "chi-squared a count, without noise", "units": "1"}
    whole = {"long_name": "log-likelihood of held-out counts over rank 1", "units": "nats"}
    step = {"long_name": "gain over one component less", "units": "nats"}
    error = {"long_name": "standard error", "units": "nats"}
    return xr.Dataset(
        {
            "eigenvalue": (COMPONENT, values, edge),
            "inertia": (COMPONENT, found.inertia[:shown], inertia),
            "held_out": (COMPONENT, gains.mean(0), whole),
            "held_out_error": (COMPONENT, standard_error(gains), error),
            "gain": (COMPONENT, steps.mean(0), step),
            "gain_error": (COMPONENT, standard_error(steps), error),
        },
        coords={COMPONENT: np.arange(1, values.size + 1)},
    )
