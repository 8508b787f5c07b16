"""Recipes for clusters: the local one runs, of others what is configured is made and printed."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import eds_xr

RECIPES = Path(__file__).parents[1] / "notebooks" / "cluster"


def printed(recipe: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, str(RECIPES / recipe), *args], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_local__runs(tmp_path):
    image = eds_xr.simulate.spectrum_image((48, 52, 1024), 300.0, seed=1).drop_vars("haadf")
    store = eds_xr.save(image, tmp_path / "map.zarr")
    found = printed("local.py", str(store), "--workers", "2", "--memory", "1 GiB")
    assert "watch it at http" in found
    assert "counts" in found
    assert "component" in found


def test_ssh__what_it_hands_over_is_what_is_taken():
    from distributed import SSHCluster

    pytest.importorskip("asyncssh", reason="asyncssh is not installed")
    found = printed("ssh.py", "map.zarr", "--hosts", "one", "two", "--print")
    inspect.signature(SSHCluster).bind(**ast.literal_eval(found))


def test_slurm__its_job_script():
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    script = printed("slurm.py", "map.zarr", "--queue", "short", "--print")
    assert "#SBATCH -p short" in script
    assert "#SBATCH --mem=15G" in script  # 16 GB in GiB
    assert "--lifetime 55m" in script
    assert "--nworkers 4" in script


def test_kubernetes__its_resource():
    pytest.importorskip("dask_kubernetes", reason="dask-kubernetes is not installed")
    spec = json.loads(printed("kubernetes.py", "s3://a/b.zarr", "--image", "i:1", "--print"))
    assert spec["kind"] == "DaskCluster"
    worker = spec["spec"]["worker"]
    assert worker["replicas"] == 10
    (container,) = worker["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "4Gi"}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_recipes__say_what_was_checked(path):
    assert "\nChecked: " in path.read_text()
