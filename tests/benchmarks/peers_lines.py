"""Net counts of lines by exSpy, on its own spectra; run by ``bench_line_fit.py`` in its Python.

Reads jobs from standard input, one a line as JSON: ``{"data", "elements", "lines", "range_kev",
"windows", "backgrounds", "k_factors"}`` (windows [keV] a line). Answers each with one line of
JSON: the spectrum and its metadata, ``windows`` and, for fits without and with weights, counts,
errors and seconds; atomic percent of each where there are k-factors.
"""

import time
import warnings

import numpy as np
from peers_jobs import answer_jobs


def work(job: dict) -> dict:
    """Do one job."""
    warnings.simplefilter("ignore")
    try:
        import exspy
        import hyperspy.api as hs

        hs.set_log_level("CRITICAL")
        whole = getattr(exspy.data, job["data"])()
        found = {"spectrum": described(whole), "version": exspy.__version__}
        low, high = job["range_kev"]
        signal = whole.isig[float(low) : float(high)]
        signal.set_elements(job["elements"])
        signal.set_lines(job["lines"])
        found["windows"] = in_windows(signal, job)
        for name, weighted in (("fit", False), ("weighted fit", True)):
            found[name] = fitted(signal.deepcopy(), job, weighted)
        return found
    except Exception as error:  # whatever another package raises is reported by its name
        return {"error": f"{type(error).__name__}: {error}"}


def described(signal: object) -> dict:
    """Return the counts of a spectrum, its axis, and how it was recorded."""
    axis = signal.axes_manager[-1]
    stage = signal.metadata.Acquisition_instrument
    setup = stage.TEM if "TEM" in stage else stage.SEM
    return {
        "counts": np.asarray(signal.data).tolist(),
        "offset_kev": float(axis.offset),
        "channel_kev": float(axis.scale),
        "beam_energy_kev": float(setup.beam_energy),
        "energy_resolution_mnka_ev": float(setup.Detector.EDS.energy_resolution_MnKa),
        "elevation_angle_deg": float(setup.Detector.EDS.elevation_angle),
    }


def in_windows(signal: object, job: dict) -> dict:
    """Return net counts in the windows given."""
    axis = signal.axes_manager[-1].axis

    def whole(low: float, high: float) -> list:
        """Return a window that holds the channels from low to high, both included."""
        return [float(axis[axis >= low][0]), float(axis[axis > high][0])]

    intensities = signal.get_lines_intensity(
        job["lines"],
        integration_windows=[whole(*window) for window in job["windows"]],
        background_windows=[[*whole(*b[:2]), *whole(*b[2:])] for b in job["backgrounds"]],
    )
    return {"net": numbers(intensities)} | quantified(signal, intensities, job)


def fitted(signal: object, job: dict, weighted: bool) -> dict:
    """Return net counts of a model: background polynomial, then lines, then the energy axis."""
    if weighted:
        signal.estimate_poissonian_noise_variance()
    start = time.perf_counter()
    model = signal.create_model()
    model.fit_background()
    model.fit()
    calibrated = [what for what in ("offset", "resolution", "scale") if calibrate(model, what)]
    model.fit()
    seconds = time.perf_counter() - start
    intensities = model.get_lines_intensity(job["lines"])
    found = {
        "net": numbers(intensities),
        "sd": [float(np.ravel(model[line].A.std or np.nan)[0]) for line in job["lines"]],
        "seconds": seconds,
        "calibrated": calibrated,
    }
    return found | quantified(signal, intensities, job)


def calibrate(model: object, what: str) -> bool:
    """Calibrate the energy axis or the resolution; False where exSpy refuses what it finds."""
    try:
        model.calibrate_energy_axis(calibrate=what)
    except ValueError:
        return False
    return True


def quantified(signal: object, intensities: list, job: dict) -> dict:
    """Return atomic percent after Cliff and Lorimer, in the order of the lines."""
    if not job.get("k_factors"):
        return {}
    parts = signal.quantification(intensities, method="CL", factors=job["k_factors"])
    return {"atomic_percent": numbers(parts)}


def numbers(signals: list) -> list:
    """Return the one value of each signal."""
    return [float(np.ravel(signal.data)[0]) for signal in signals]


if __name__ == "__main__":
    answer_jobs(work)
