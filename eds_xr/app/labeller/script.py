"""What was done in a labeller, as Python that does it again."""

from __future__ import annotations

from collections.abc import Mapping

from eds_xr.app.labeller.maps import Map
from eds_xr.segmentation.labelling import Session


def script_of(
    session: Session,
    name: str,
    maps: Mapping[str, Map],
    *,
    session_file: str = "session.edsx",
    segmented: bool = False,
) -> str:
    """Return Python that trains on the saved strokes and sums the spectra of what it finds."""
    chosen = session.parameters
    names = chosen.channels or tuple(n for n, one in maps.items() if one.learnt)
    lines = [
        "import eds_xr",
        "import xarray as xr",
        "",
        f"image = eds_xr.open({name!r})",
        f"session = eds_xr.labelling.read_session({session_file!r})",
        *_channels(names, maps),
        "features = eds_xr.labelling.features_of(session, channels).persist()",
        "session = eds_xr.labelling.train_session(session, features)",
        "probability = eds_xr.labelling.probabilities_of(session, features)",
        "phases = eds_xr.labelling.phases_of(session, probability)  # present, pure, label",
        f"label = eds_xr.graph_cut.smooth(probability, smoothness={chosen.smoothness:g})",
        "spectra = image.eds.sum_spectra(label.eds.masks())",
    ]
    if segmented:
        lines += [
            "",
            f"scribbles = eds_xr.labelling.scribbles_of(session, {name!r})",
            "segmented = image.eds.segment(",
            f"    scribbles, smoothness={chosen.smoothness:g}, seed={chosen.seed}",
            ")  # with your NMF: channels=",
            "spectra = image.eds.sum_spectra(segmented.pure)",
        ]
    return "\n".join(lines) + "\n"


def _channels(names: tuple[str, ...], maps: Mapping[str, Map]) -> list[str]:
    """Return the lines that make the channels; those that the user gave stay theirs."""
    given = [name for name in names if maps[name].code == "channels"]
    if len(given) == len(names):
        return [f"channels = channels  # yours: {', '.join(names)}"]
    codes = {n: f"channels.sel(channel={n!r})" if n in given else maps[n].code for n in names}
    made = [f"    {code},  # {name}" for name, code in codes.items()]
    return [
        "channels = xr.concat(",
        "    [",
        *(f"    {line}" for line in made),
        "    ],",
        f'    dim=xr.Variable("channel", {list(names)!r}),',
        '    coords="minimal", compat="override",',
        ")",
    ]
