"""What README shows works as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_readme__its_example_runs_on_the_sample_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    store = ROOT / "data" / "assemblage.zarr"
    code, found = re.subn(r'eds_xr\.convert\("map\.emd"\)', repr(str(store)), code)
    assert found == 1
    made = {}
    # the example fits four elements, and the sample holds more
    with pytest.warns(match="is not accounted for"):
        exec(code, made)
    assert set(made["composition"].element.values) == {"Mg", "Si", "Ca", "Fe"}
    assert "atomic_fraction" in Path("phases.csv").read_text()


def test_readme__pictures_and_notebook_are_there():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"\((notebooks/[^)]+)\)", text):
        assert (ROOT / name).exists(), name
