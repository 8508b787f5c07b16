"""Recipes for clusters: on this machine and by SSH they run, of others what is made is printed."""

import ast
import getpass
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import processes
from support.packages import needs

import eds_xr

RECIPES = Path(__file__).parents[1] / "notebooks" / "cluster"
NO_WORKERS = "DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT"
#: An SSH server wants to be called by its whole path.
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def printed(recipe: str, *args: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, str(RECIPES / recipe), *args],
        capture_output=True,
        text=True,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Path:
    image = eds_xr.simulate.spectrum_image((48, 52, 1024), 300.0, seed=1).drop_vars("haadf")
    return eds_xr.save(image, tmp_path / "map.zarr")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home from which two names lead to an SSH server of this machine, as this user."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    for name in ("host", "key"):
        file = str(home / ".ssh" / name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    port = processes.free_port()
    host = (home / ".ssh" / "host.pub").read_text()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
    (home / ".ssh" / "config").write_text(
        f"Host one two\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {home}/.ssh/key\n"
    )
    # the remote shell starts afresh: what this process imports from, workers shall, too
    (home / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/.ssh/host\nUsePAM no\n"
        f"AuthorizedKeysFile {home}/.ssh/key.pub\nStrictModes no\nPidFile none\n"
        f"SetEnv PYTHONPATH={os.pathsep.join(filter(None, sys.path))} OMP_NUM_THREADS=1\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root's goes without rights
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(home / "sshd_config")])
    yield home
    server.terminate()
    server.wait()


@pytest.mark.slow
def test_local__runs(store):
    found = printed("local.py", str(store), "--workers", "2", "--memory", "1 GiB")
    assert "watch it at http" in found
    assert "counts" in found
    assert "component" in found


@pytest.mark.slow
@needs("recipes", "asyncssh")
@pytest.mark.skipif(
    not SSHD and "recipes" not in os.environ.get("EDS_XR_REQUIRE", ""),
    reason="no SSH server is installed",
)
def test_ssh__runs(store, home):
    hosts = ("--hosts", "one", "two", "--memory", "1 GiB")
    found = printed("ssh.py", str(store), *hosts, HOME=str(home))
    assert "watch it at http" in found
    scores = eds_xr.open(store).eds.nmf(4).scores.mean(("y", "x")).values
    said = ast.literal_eval(re.search(r"array\((\[.*\])", found)[1])
    np.testing.assert_allclose(said, scores, rtol=1e-3)


@needs("recipes", "asyncssh")
def test_ssh__what_it_hands_over_is_what_is_taken():
    from distributed import SSHCluster

    found = printed("ssh.py", "map.zarr", "--hosts", "one", "two", "--print")
    inspect.signature(SSHCluster).bind(**ast.literal_eval(found))


@needs("recipes", "dask_jobqueue")
def test_slurm__its_job_script():
    script = printed("slurm.py", "map.zarr", "--queue", "short", "--print")
    assert "#SBATCH -p short" in script
    assert "#SBATCH --mem=15G" in script  # 16 GB in GiB
    assert "--lifetime 55m" in script
    assert "--nworkers 4" in script


# in no extra: it needs another version of python-dateutil than s3fs
@needs("kubernetes", "dask_kubernetes")
def test_kubernetes__its_resource():
    spec = json.loads(printed("kubernetes.py", "s3://a/b.zarr", "--image", "i:1", "--print"))
    assert spec["kind"] == "DaskCluster"
    worker = spec["spec"]["worker"]
    assert worker["replicas"] == 10
    (container,) = worker["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "4Gi"}
    (scheduler,) = spec["spec"]["scheduler"]["spec"]["containers"]
    assert {"name": NO_WORKERS, "value": "10 minutes"} in scheduler["env"]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_recipes__say_what_was_checked(path):
    assert "\nChecked: " in path.read_text()
