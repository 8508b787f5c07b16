"""Factorise counts with another package; run by ``bench_nmf_truth.py`` in the peers' Python.

Reads one job a line from standard input, ``{"method", "counts", "components", "iterations",
"out"}`` as JSON, writes the spectra [component, channel] to ``out`` as ``.npy``, and answers with
one line of JSON: ``{"seconds"}`` or ``{"error"}``. Needs nothing but NumPy and the peer.
"""

import importlib.metadata
import time
import warnings

import numpy as np
from peers_jobs import answer_jobs


def work(job: dict) -> dict:
    """Do one job; "version" asks whether a package is there."""
    warnings.simplefilter("ignore")
    try:
        if job["method"] == "version":
            return {"version": importlib.metadata.version(job["package"])}
        counts = np.load(job["counts"])
        run = {"hyperspy": hyperspy, "espm": espm}[job["method"]]
        spectra, seconds = run(counts, job["components"], job["iterations"])
        np.save(job["out"], spectra)
        return {"seconds": seconds}
    except Exception as error:  # whatever another package raises is reported by its name
        return {"error": f"{type(error).__name__}: {error}"}


def hyperspy(counts: np.ndarray, components: int, iterations: int) -> tuple[np.ndarray, float]:
    """Run HyperSpy's NMF eagerly, with Poisson scaling."""
    import hyperspy.api as hs

    hs.set_log_level("ERROR")
    signal = hs.signals.Signal1D(counts.astype(np.float32))
    start = time.perf_counter()
    signal.decomposition(
        normalize_poissonian_noise=True, algorithm="NMF", output_dimension=components,
        print_info=False, max_iter=iterations, random_state=0,
    )  # fmt: skip
    return np.nan_to_num(signal.learning_results.factors.T), time.perf_counter() - start


def espm(counts: np.ndarray, components: int, iterations: int) -> tuple[np.ndarray, float]:
    """Run espm's SmoothNMF with its defaults."""
    from espm.estimators import SmoothNMF

    model = SmoothNMF(
        n_components=components, max_iter=iterations, shape_2d=counts.shape[:2], verbose=0,
        random_state=0,
    )  # fmt: skip
    table = counts.reshape(-1, counts.shape[-1]).T.astype(float)
    start = time.perf_counter()
    spectra = model.fit_transform(table).T
    return spectra, time.perf_counter() - start


if __name__ == "__main__":
    answer_jobs(work)
