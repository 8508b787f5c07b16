"""Bruker's maps (``.bcf``), written as the format is described, line by line and so of any size."""

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

PULSES_16, PULSES_12, INSTRUCTED, MIXED = "16 bit", "12 bit", "instructed", "mixed"
FLAVOURS = (PULSES_16, PULSES_12, INSTRUCTED, MIXED)


def write_bruker(
    path: Path,
    lines: Iterable[bytes],
    shape: tuple[int, int, int],
    *,
    sums: Sequence[int] | None = None,
    images: dict[str, np.ndarray] | None = None,
    packed: bool = False,
    block_bytes: int = 2**16,
    page_bytes: int = 4096,
    scatter: int | None = None,
    header: bytes | None = None,
    more_maps: Sequence[Iterable[bytes]] = (),
) -> Path:
    """Write maps whose lines are packed already, see :func:`pack_line`.

    Parameters
    ----------
    shape
        y, x, energy.
    sums
        Sum spectrum; ones if not given.
    packed
        Pack all files in the container by zlib, in blocks of `block_bytes`.
    scatter
        Seed by which pages are put in another order than that of the content.
    header
        The XML, where it shall not be the usual one.
    """
    if header is None:
        header = header_xml(shape, sums, images or {}, 1 + len(more_maps))
    with path.open("wb") as file:
        container = _Container(file, page_bytes, scatter)
        container.folder("EDSDatabase")
        content: list[Iterator[bytes]] = [iter([header])]
        content += [map_bytes(each, shape) for each in (lines, *more_maps)]
        for i, pieces in enumerate(content):
            name = f"SpectrumData{i - 1}" if i else "HeaderData"
            container.add(name, _packed(pieces, block_bytes) if packed else pieces)
        container.finish()
    return path


def map_bytes(lines: Iterable[bytes], shape: tuple[int, int, int]) -> Iterator[bytes]:
    """Yield the content of a file of packed pixels."""
    yield struct.pack("<IIII", shape[0], shape[1], 4096, 1).ljust(0x1A0, b"\0")
    yield from lines


def pack_lines(counts: np.ndarray, flavour: str = MIXED) -> Iterator[bytes]:
    """Yield the lines of an image [y, x, energy; counts]."""
    return (pack_line(line, flavour) for line in counts)


def pack_line(line: np.ndarray, flavour: str = MIXED) -> bytes:
    """Return a line [x, energy; counts]; pixels without counts are left out."""
    filled = [(x, spectrum) for x, spectrum in enumerate(line) if spectrum.any()]
    each = FLAVOURS[:3] if flavour == MIXED else (flavour,)
    pixels = (pack_pixel(x, s, each[x % len(each)], extra=x % 2 == 0) for x, s in filled)
    return struct.pack("<I", len(filled)) + b"".join(pixels)


def pack_pixel(x: int, spectrum: np.ndarray, flavour: str, *, extra: bool = False) -> bytes:
    """Return a pixel; with `extra`, some counts of an instructed one as additional pulses."""
    channels = int(np.flatnonzero(spectrum)[-1]) + 1
    pulses = np.repeat(np.arange(spectrum.size), spectrum)
    if flavour == INSTRUCTED:
        taken = pulses[::3][:1000] if extra else pulses[:0]
        rest = spectrum - np.bincount(taken, minlength=spectrum.size)
        data = instructions(rest[:channels]) + struct.pack("<I", 2 * taken.size)
        head = struct.pack("<HHIHHHI", channels, channels, 0xC0000, 3, 0, taken.size, len(data))
        return struct.pack("<I", x) + head + data + taken.astype("<u2").tobytes()
    data = pulses.astype("<u2").tobytes() if flavour == PULSES_16 else pack_12(pulses)
    flag = 0 if flavour == PULSES_16 else 1
    head = struct.pack("<HHIHHHI", channels, 0, 0xC0000, flag, 0, pulses.size, len(data))
    return struct.pack("<I", x) + head + data


def pack_12(pulses: np.ndarray) -> bytes:
    """Return channels in 12 bits each, from the highest bit of 16-bit words on."""
    bits = (pulses[..., None] >> np.arange(11, -1, -1)) & 1
    bits = bits.reshape(*pulses.shape[:-1], -1).astype(np.uint8)
    short = -bits.shape[-1] % 16
    bits = np.concatenate((bits, np.zeros((*bits.shape[:-1], short), np.uint8)), axis=-1)
    return np.packbits(bits, axis=-1).view(">u2").astype("<u2").tobytes()


def instructions(spectrum: np.ndarray, most: int = 200) -> bytes:
    """Return the instructions for a spectrum: empty runs, and others by the bytes they need."""
    filled = np.concatenate(([0], (spectrum > 0).astype(int), [0]))
    edges = np.flatnonzero(np.diff(filled))
    cuts = sorted({0, spectrum.size, *edges.tolist()})
    spans = zip(cuts[:-1], cuts[1:], strict=True)
    runs = [(a, min(a + most, b)) for s, b in spans for a in range(s, b, most)]
    return b"".join(_run(spectrum[a:b]) for a, b in runs)


def _run(values: np.ndarray) -> bytes:
    base, above = int(values.min()), int(np.ptp(values))
    if values.max() == 0:
        return bytes((0, values.size))
    size = next(s for s in (1, 2, 4, 8) if above < 2 ** (4 * s) and base < 2 ** (8 * s))
    head = bytes((size, values.size)) + base.to_bytes(size, "little")
    if size > 1:
        return head + (values - base).astype(f"<u{size // 2}").tobytes()
    low = np.append(values - base, 0)[: values.size + values.size % 2].astype(np.uint8)
    return head + (low[::2] | (low[1::2] << 4)).tobytes()


def header_xml(
    shape: tuple[int, int, int],
    sums: Sequence[int] | None = None,
    images: dict[str, np.ndarray] | None = None,
    n_maps: int = 1,
    decimal: str = ".",
) -> bytes:
    """Return the XML of ``HeaderData``."""
    channels = ",".join(map(str, sums if sums is not None else [1] * shape[2]))
    spectra = "".join(
        f"""<SpectrumData{n}><ClassInstance Type="TRTSpectrum"><TRTHeaderedClass>
<ClassInstance Type="TRTSpectrumHardwareHeader"><Amplification>2E4</Amplification></ClassInstance>
<ClassInstance Type="TRTDetectorHeader"><Type>SuperX</Type><DetLayers>{_LAYERS}</DetLayers>
</ClassInstance><ClassInstance Type="TRTESMAHeader"><PrimaryEnergy>2E2</PrimaryEnergy>
<ElevationAngle>1.8E1</ElevationAngle><AzimutAngle>4.5E1</AzimutAngle></ClassInstance>
</TRTHeaderedClass><ClassInstance Type="TRTSpectrumHeader"><Date>9.8.2016</Date>
<Time>14:48:9</Time><ChannelCount>{shape[2]}</ChannelCount><CalibAbs>-4.75E-1</CalibAbs>
<CalibLin>1.0E-2</CalibLin><SigmaAbs>5.5E-4</SigmaAbs><SigmaLin>4.3E-4</SigmaLin></ClassInstance>
<Channels>{channels}</Channels></ClassInstance></SpectrumData{n}>"""
        for n in range(n_maps)
    )
    text = f"""<?xml version="1.0" encoding="WINDOWS-1252" standalone="yes"?>
<TRTSpectrumDatabase><RTHeader/><ClassInstance Type="TRTSpectrumDatabase" Name="Map µ">
<Header><Date>9.8.2016</Date><Time>14:48:10</Time><FileVersion>1</FileVersion></Header>
<ClassInstance Type="TRTSEMData"><HV>200</HV><DX>1.5E-3</DX><DY>2.5E-3</DY></ClassInstance>
<ClassInstance Type="TRTSEMStageData"><Tilt>12.5</Tilt></ClassInstance>
<ClassInstance Type="TRTDSPConfiguration"><LineAverage>1</LineAverage>
<PixelAverage>100</PixelAverage><PixelTime>1</PixelTime></ClassInstance>
{_image_xml(shape, images or {})}<ClassInstance Type="TRTContainerClass"><ChildClassInstances>
<ClassInstance Type="TRTElementInformationList"><ClassInstance Type="TRTSpectrumRegionList">
<ChildClassInstances>{_region("Ti")}{_region("O")}{_region("Ti")}</ChildClassInstances>
</ClassInstance></ClassInstance></ChildClassInstances></ClassInstance>
<LineCounter>{",".join(["3"] * shape[0])}</LineCounter><ChCount>4096</ChCount>
<DetectorCount>1</DetectorCount>{spectra}</ClassInstance></TRTSpectrumDatabase>"""
    return text.replace("1.5E-3", f"1{decimal}5E-3").encode("cp1252")


_LAYERS = base64.b64encode(zlib.compress(b"<DetLayers/>")).decode()


def _region(name: str) -> str:
    fields = f"<XmlClassName>{name}</XmlClassName><Line>KA</Line><Energy>1.0</Energy>"
    return f'<ClassInstance Type="TRTSpectrumRegion" Name="{name}">{fields}</ClassInstance>'


def _image_xml(shape: tuple[int, int, int], images: dict[str, np.ndarray]) -> str:
    """Return an image node; without images it has one plane of zeros, as the program writes."""
    images = images or {"BF": np.zeros(shape[:2], np.uint16)}
    planes = "".join(
        f"<Plane{i}><Description>{name}</Description>"
        f"<Data>{base64.b64encode(values.tobytes()).decode()}</Data></Plane{i}>"
        for i, (name, values) in enumerate(images.items())
    )
    first = next(iter(images.values()))
    return (
        f'<ClassInstance Type="TRTImageData"><ItemSize>{first.itemsize}</ItemSize>'
        f"<Width>{first.shape[1]}</Width><Height>{first.shape[0]}</Height>"
        f"<PlaneCount>{len(images)}</PlaneCount>{planes}</ClassInstance>"
    )


def _packed(pieces: Iterable[bytes], block_bytes: int) -> Iterator[bytes]:
    """Yield content packed by zlib; the first piece is what stands before, without the number."""
    yield struct.pack("<4sIII", b"AACS", block_bytes, 0, 0).ljust(0x80, b"\0")
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= block_bytes:
            yield _block(bytes(held[:block_bytes]))
            del held[:block_bytes]
    if held:
        yield _block(bytes(held))


def _block(content: bytes) -> bytes:
    stored = zlib.compress(content, 1)
    return struct.pack("<IIII", len(stored), len(content), 0, len(stored) + 16) + stored


class _Container:
    """Writes files into pages; tables and directory come behind, the first page last."""

    def __init__(self, file: BinaryIO, page_bytes: int, scatter: int | None) -> None:
        self.file = file
        self.page_bytes = page_bytes
        self.content = page_bytes - 32
        self.next_page = 1
        self.order = None if scatter is None else np.random.default_rng(scatter)
        self.entries: list[bytes] = []

    def folder(self, name: str) -> None:
        self._entry(name, 0xFFFFFFFF, 0, -1, folder=True)

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        pages: list[int] = []
        size, n_pieces, held = 0, 0, bytearray()
        for piece in pieces:
            held += piece
            n_pieces += 1
            while len(held) >= 16 * self.content:
                size += self._write(held[: 16 * self.content], pages)
                del held[: 16 * self.content]
        size += self._write(held, pages)
        self._entry(name, self._table(np.array(pages, "<u4").tobytes()), size, 0)
        if pages:
            self._count_blocks(pages[0], n_pieces - 1)

    def finish(self) -> None:
        per_page = self.content // 512
        groups = [
            b"".join(self.entries[i : i + per_page]) for i in range(0, len(self.entries), per_page)
        ]
        first = self._chain(groups)
        head = bytearray(self.page_bytes)
        head[:8] = b"AASFSSGN"
        struct.pack_into("<fI", head, 12, 2.6, self.page_bytes)
        struct.pack_into("<III", head, 40, first, len(self.entries), self.next_page)
        self.file.seek(0)
        self.file.write(b"AAMVHFSS" + b"\xfe" + b"\xff" * 6 + b"\x7f" + bytes(0x118 - 16) + head)

    def _entry(
        self, name: str, table: int, size: int, parent: int, *, folder: bool = False
    ) -> None:
        self.entries.append(
            struct.pack("<IQ28xi176xB3x256s32x", table, size, parent, folder, name.encode())
        )

    def _write(self, content: bytes | bytearray, pages: list[int]) -> int:
        starts = range(0, len(content), self.content)
        numbers = self.next_page + np.arange(len(starts))
        if self.order is not None:
            numbers = self.order.permutation(numbers)
        for start, number in zip(starts, numbers, strict=True):
            self._page(int(number), 0, content[start : start + self.content])
        pages += numbers.tolist()
        self.next_page += len(starts)
        return len(content)

    def _table(self, content: bytes) -> int:
        room = self.content // 4 * 4
        return self._chain([content[i : i + room] for i in range(0, len(content), room)])

    def _chain(self, groups: list[bytes]) -> int:
        first = self.next_page
        for i, group in enumerate(groups):
            following = first + i + 1 if i + 1 < len(groups) else 0xFFFFFFFF
            self._page(first + i, following, group)
        self.next_page += len(groups)
        return first

    def _page(self, number: int, following: int, content: bytes | bytearray) -> None:
        self.file.seek(0x118 + number * self.page_bytes)
        head = struct.pack("<I", following).ljust(32, b"\0")
        self.file.write((head + content).ljust(self.page_bytes, b"\0"))

    def _count_blocks(self, page: int, number: int) -> None:
        """Say how many blocks there are, if the file that begins in this page is packed."""
        self.file.flush()
        place = 0x118 + page * self.page_bytes + 32
        with open(self.file.name, "r+b") as file:
            file.seek(place)
            if file.read(4) == b"AACS":
                file.seek(place + 12)
                file.write(struct.pack("<I", number))
