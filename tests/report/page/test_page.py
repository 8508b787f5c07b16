"""The page of an analysis: whole, harmless, asking nothing of the network."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from support.drawn import composition

from eds_xr.composition.partition import partition_coefficients
from eds_xr.report.page.html import STYLE
from eds_xr.report.page.page import _chosen, _few, write_report
from eds_xr.schema import EdsError, label_array

HOSTILE = "</pre><script>alert('$x$')</script><img/src=http://a.b/c>&\"'"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """The tags, addresses and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.addresses, self.open, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def analysis(names=("Brg", "Fp")):
    """Return a tree as `analyse` makes it, small, with these phases."""
    random = np.random.default_rng(0)
    grid = {d: (d, np.arange(12.0), {"units": "nm"}) for d in "yx"}
    phase = {"phase": list(names)}
    present = xr.DataArray(random.random((2, 12, 12)) > 0.4, grid | phase, ("phase", "y", "x"))
    label = label_array(np.ones((12, 12), np.uint8), present, names)
    segmentation = {"present": present, "probability": 0.9 * present, "label": label}
    energy = np.arange(0.7, 8, 0.02)
    counts = xr.DataArray(
        random.poisson(9.0, (2, energy.size)), phase | {"energy": energy}, ("phase", "energy")
    )
    pure = {"counts": counts, "variance": counts, "n_pixels": 144, "way": ("phase", [HOSTILE] * 2)}
    model = 0 * counts + 9.0
    net = xr.DataArray([[90.0], [10.0]], phase | {"line": ["Mg_Ka"]}, ("phase", "line"))
    lines = {
        "net": net, "variance": net + 5, "model": model, "background_model": model,
        "doubt": net.copy(data=[[HOSTILE], [""]]),
    }  # fmt: skip
    found = composition(names)
    elements = {
        "found": [True, False], "verdict": ["found", "alias"], "line": ["Mg_Ka", "As_La"],
        "sigma": [9.0, np.nan], "alias": ["", HOSTILE],
    }  # fmt: skip
    identification = xr.Dataset(
        {n: ("element", v) for n, v in elements.items()},
        {"element": ["Mg", "As"], "stray": ("element", ["", "<i>grid</i>"])},
    )
    apart = xr.zeros_like(found.atomic_fraction) + 0.02
    comparison = {"difference": apart, "sigma": 200 * apart, "agree": apart < 0}
    one, other = names
    parts = {
        "segmentation": segmentation, "pure": pure, "lines": lines, "composition": found,
        "identification": identification, "comparison": comparison,
        "partition": partition_coefficients(found, one, reference=other),
    }  # fmt: skip
    made = {n: p if isinstance(p, xr.Dataset) else xr.Dataset(p) for n, p in parts.items()}
    tree = xr.DataTree.from_dict(made)
    tree.attrs = {
        "source": f"/data/{HOSTILE}.emd", "warnings": ["look here", HOSTILE], "matrix": other,
        "recipe": f"# {HOSTILE}\nseed = 0\n",
    }  # fmt: skip
    return tree


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a.html"
    return write_report(analysis((HOSTILE, "Fp_<b>")), path).read_text(encoding="utf-8")


def test_write_report__hostile_names_do_nothing(text: str) -> None:
    page = Page(text)
    assert not page.open  # all that is opened is closed
    assert not {"script", "iframe", "object", "form", "b"} & set(page.tags)
    assert all(address.startswith("data:") for address in page.addresses)
    assert "default-src 'none'" in text
    shown = "".join(page.texts)
    assert shown.count(HOSTILE) >= 5  # as they are: title, warning, tables, recipe
    assert not re.search(r"url\(|@import", text)


def test_write_report__warnings_first_then_pictures_tables_recipe(text: str) -> None:
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads == [
        "Warnings", "Phases and their spectra", "Results", "Errors, and how it was found", "Recipe",
        "Again",
    ]  # fmt: skip
    assert text.index("look here") < text.index("<img")
    assert text.count("<figure") == 6  # phases, probability, two fits, partition, budget
    assert "total errors</h3>" in text
    assert re.search(r"Mg [\d.]+\(\d+\) at%: \d+ % computed k-factor of", text)
    assert "Not in brackets: computed k-factors" in text
    assert "eds_xr.analyse(image" in text
    assert "<td>+2 (+4.0) †</td>" in text
    assert '<th scope="row">As</th><td>alias</td><td>As\N{NO-BREAK SPACE}Lα</td>' in text
    assert "upper limit at 95" in text
    assert len(text) < 3e6


def test_write_report__many_phases_are_shown_a_few_at_a_time() -> None:
    found = composition([f"p{i}" for i in range(6)])
    assert [part.sizes["phase"] for part in _few(found, "phase")] == [3, 3]
    assert list(_few(None, "phase")) == []


def test_style__print_is_large_enough_to_read() -> None:
    """A pixel of CSS is 3/4 of a point; 5 points are what journals allow."""
    paper = STYLE.split("@media print")[1]
    sizes = [float(s) for s in re.findall(r"font-size: ([\d.]+)px", paper)]
    assert len(sizes) > 5
    assert 0.75 * min(sizes) > 5


def test_write_report__is_bound_and_whole_or_not_at_all(tmp_path) -> None:
    whole = analysis()
    tree = xr.DataTree.from_dict({"segmentation": whole["segmentation"].to_dataset()})
    path = tree.eds.write_report(tmp_path / "a.html")
    with pytest.raises(EdsError, match=r"a\.html"):
        write_report(tree, path)
    with pytest.raises(EdsError, match=r"expected the tree of eds_xr\.analyse"):
        write_report(xr.DataTree(), tmp_path / "b.html")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")
def test_write_report__opens_in_chromium_without_request_or_error(text, tmp_path) -> None:
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    log = tmp_path / "net.json"
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            "--window-size=400,800", "--no-pdf-header-footer", "--dump-dom",
            (tmp_path / "a.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, env={**os.environ, "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    assert "look here" in done.stdout
    assert "a.b" not in log.read_text()


def test_chosen__leaves_out_what_was_left_open() -> None:
    before, after = "# of mine\nseed = 0  # of all\n\n", "[detector]\nnm = 3\n"
    left_open = "[fit]\n# range_kev =  # of the fits\n\n"
    assert _chosen(before + left_open + after) == before + after
