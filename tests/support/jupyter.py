"""A real JupyterLab, and notebooks made for it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat


def notebook_of(*sources: str) -> Any:
    """Return a notebook of code cells."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    return notebook


@contextmanager
def jupyter_lab(folder: Path, *sources: str) -> Iterator[str]:
    """Yield the address of a notebook in a JupyterLab on a free port, in a folder of its own."""
    work = folder / "work"
    work.mkdir()
    nbformat.write(notebook_of(*sources), work / "a.ipynb")
    homes = {f"JUPYTER_{n}_DIR": str(folder / n) for n in ("CONFIG", "DATA", "RUNTIME")}
    run = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--port=0", "--allow-root",
           "--ip=127.0.0.1", "--IdentityProvider.token=abc", "--LabApp.news_url=",
           "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
           "--LabApp.extension_manager=readonly", f"--ServerApp.root_dir={work}"]  # fmt: skip
    log = folder / "log.txt"
    with log.open("w") as said:
        process = subprocess.Popen(run, env=os.environ | homes, stderr=said, cwd=work)
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{found[1]}/lab/tree/a.ipynb?token=abc"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # it asks its kernels to end, and may wait for ever
            process.kill()
            process.wait()


def run_first_cell(page: Any, address: str) -> None:
    """Open a notebook, and run its first cell."""
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    page.keyboard.press("Shift+Enter")


def run_cell(page: Any, number: int) -> None:
    """Run another cell."""
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
