"""Every real file of the vendors' folder: counted and converted, or refused with what to do."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import eds_xr
from eds_xr.schema import EdsError

VELOX = "velox_emd_version11.zip"
#: Sizes, type of signal, and counts, as an independent reader finds them.
IMAGES = {
    "4on3.bcf": ((3, 4, 1024), "EDS_SEM", 4),
    "P45_12bit_packed_8bit_compressed.bcf": ((75, 100, 2048), "EDS_SEM", 915_942),
    "test_TEM.bcf": ((64, 64, 2048), "EDS_TEM", 26_005),
    "Dummy-Data_0000007.pts": ((64, 64, 4096), "EDS_TEM", 1_497),
    "View000_0000006.pts": ((512, 512, 4096), "EDS_TEM", 308_261),
    "core_shell.hspy": ((64, 64, 992), "EDS_TEM", 884_071),
    f"{VELOX}/Test SI 16x16 215 kx.emd": ((16, 16, 4096), "EDS_TEM", 42_097),
    "CuZn_EELS_mapping_tutorial.hspy": ((50, 40, 162), "EELS", 1_235_733_020),
    "LSMO_linescan.hspy": ((40, 586), "EELS", 4_261_721_807.234375),
    "EELS_LL_linescan_simulated_thickness_variation.hspy": (
        (17, 1024),
        "EELS",
        1_625_408.2709451055,
    ),
    "LSMO_STO_linescan.hdf5": ((10, 512), "EELS", 709_988_268.1875),
}
#: What is said of files that hold no spectrum image.
OTHERS = {
    "EDS_SEM_TM002.hspy": "a single spectrum .*1,024 channels.*convert the map that it was taken",
    "EDS_TEM_FePt_nanoparticles.hspy": "a single spectrum .*992 channels.*no positions",
    "asymmetric-peak_map.dm4": r"\(334, nm\).*a map of light \(cathodoluminescence\), not",
    "coreloss_spectrum.msa": r"no reader for \.msa; files that can be read: ",
    VELOX: r"no reader for \.zip; files that can be read: ",
    f"{VELOX}/Test SI 16x16 ReducedData 215 kx.emd": "was pruned.*use the file as it was acquired",
}


def found(vendor_file: Callable[[str], Path], name: str, folder: Path) -> Path:
    archive, _, inner = name.partition("/")
    path = vendor_file(archive)
    if not inner:
        return path
    with zipfile.ZipFile(path) as packed:
        (entry,) = (e for e in packed.namelist() if Path(e).name == inner)
        return Path(packed.extract(entry, folder))


@pytest.mark.vendor
@pytest.mark.parametrize("name", IMAGES)
def test_convert__all_counts_of_a_real_file(
    vendor_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    shape, signal_type, counts = IMAGES[name]
    path = found(vendor_file, name, tmp_path)
    said = eds_xr.info(path, counts=True)["spectrum_images"][0]
    assert (tuple(said["sizes"].values()), said["counts"]) == (shape, pytest.approx(counts))
    image = eds_xr.open(eds_xr.convert(path, tmp_path / "map.zarr"))
    assert (image.shape, image.attrs["signal_type"]) == (shape, signal_type)
    exact = np.float64 if image.dtype.kind == "f" else np.int64
    assert image.sum(dtype=exact).compute() == pytest.approx(counts, rel=1e-12)


@pytest.mark.vendor
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("use", [eds_xr.info, eds_xr.convert])
def test_info_and_convert__say_what_else_a_real_file_is(
    vendor_file: Callable[[str], Path], tmp_path: Path, name: str, use: Callable[[Path], object]
) -> None:
    path = found(vendor_file, name, tmp_path)
    with pytest.raises(EdsError, match=OTHERS[name]):
        use(path)


@pytest.mark.vendor
def test_all_real_files_are_looked_at(vendor_file: Callable[[str], Path]) -> None:
    files = {p.name for p in vendor_file("README.md").parent.iterdir()} - {"README.md"}
    assert files == {name for name in (*IMAGES, *OTHERS) if "/" not in name}
