"""What was done in a labeller, as Python that does it again."""

from __future__ import annotations

from collections.abc import Mapping

from eds_xr.app.labeller.maps import Map
from eds_xr.segmentation.labelling import Session


def script_of(
    session: Session, name: str, maps: Mapping[str, Map], *, session_file: str = "session.edsx"
) -> str:
    """Return Python that trains on the saved strokes and sums the spectra of what it finds."""
    chosen = session.parameters
    names = chosen.channels or tuple(n for n, one in maps.items() if one.learnt)
    forest = _forest(session)
    lines = [
        "import eds_xr",
        *(["import sklearn.ensemble"] if forest else []),
        "import xarray as xr",
        "",
        f"image = eds_xr.open({name!r})",
        f"session = eds_xr.labelling.read_session({session_file!r})",
        f"scribbles = eds_xr.labelling.scribbles_of(session, {name!r})",
        *_channels(names, maps),
        "features = eds_xr.features.pixel_features(",
        f"    channels, kinds={list(chosen.kinds)!r}, scales={list(chosen.scales)!r}",
        ")",
        "classifier = eds_xr.classify.train(",
        f"    features, scribbles, balanced={chosen.balanced}, seed={chosen.seed}{forest}",
        ")",
        "probability = eds_xr.classify.predict(classifier, features)",
        f"label = eds_xr.graph_cut.smooth(probability, smoothness={chosen.smoothness:g})",
        "spectra = image.eds.sum_spectra(label.eds.masks())",
        "lines = spectra.eds.fit_lines()",
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


def _forest(session: Session) -> str:
    trees = session.parameters.n_trees
    if trees == 200:
        return ""
    return (
        ",\n    classifier=sklearn.ensemble.RandomForestClassifier(\n"
        f'        {trees}, min_samples_leaf=5, class_weight="balanced_subsample", oob_score=True,\n'
        f"        random_state={session.parameters.seed}, n_jobs=-1,\n    ),"
    )
