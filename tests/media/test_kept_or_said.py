"""What a file carries is in the result, or in a note: each kind of input x each kind of output x each carrier.

Inputs are made by Pillow, tifffile, numpy and FFmpeg; who reads a result has no part in writing it.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import h5netcdf
import h5py
import imagecodecs
import nibabel
import nrrd
import numpy as np
import polars as pl
import pytest
import tifffile
import zarr
from av.stream import Disposition
from PIL import Image, ImageCms

from convcli.cli.program import run
from convcli.media import trial
from convcli.media.registry import by_name, left_out, numbered
from tests.carriers import holds
from tests.media.test_clip_tracks import CHAPTERS, TAGGED, WORDS, X264, described, made, sup
from tests.media.test_clips import opened, whole, write

GREY = np.add.outer(np.arange(12) * 20, np.arange(16)).astype(np.uint8)
RGB = np.dstack([GREY, 255 - GREY, GREY // 2])
RGBA = np.dstack([RGB, np.tile(np.repeat([0, 255], 8), (12, 1))]).astype(np.uint8)
DEEP = GREY * np.uint16(257) + np.uint16(7)
INKS = Image.fromarray(RGB).convert("CMYK")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"MM\0*\0\0\0\10\0\1\1\17\0\2\0\0\0\4abc\0\0\0\0\0"  # the maker is abc
TABLE = b"time,a,b,name\n0,1,2,x\n1,2,4,y\n2,4,5,z\n"


def pillow(form: str, pixels: Any = RGB, **settings: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file := io.BytesIO(), form, **settings)
    return file.getvalue()


def tiff(pixels: np.ndarray = RGB, **settings: Any) -> bytes:
    tifffile.imwrite(file := io.BytesIO(), pixels, metadata=None, **settings)
    return file.getvalue()


CELLS = {"axes": "YX", "PhysicalSizeX": 0.25, "unit": "micron"}


def written(pixels: np.ndarray, **settings: Any) -> bytes:
    tifffile.imwrite(file := io.BytesIO(), pixels, **settings)
    return file.getvalue()


def moving(form: str, **settings: object) -> bytes:
    first, *others = (Image.fromarray(np.roll(RGB, 3 * n, 1)) for n in range(3))
    lossless = {"lossless": True} if form == "WEBP" else {}
    times = {"duration": [40, 200, 520], "save_all": True, "append_images": others}
    return pillow(form, first, **times, **lossless, **settings)


def psd(number: int, data: bytes) -> bytes:
    resource = b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 3, 12, 16, 8, 3, 0, len(resource))
    return head + resource + bytes(6) + np.moveaxis(RGB, -1, 0).tobytes()


def npy(pixels: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), pixels)
    return file.getvalue()


def sgi() -> bytes:
    head = struct.pack(">hBBHHHHII", 474, 0, 2, 2, 16, 12, 1, 0, 65535)
    return head.ljust(512, b"\0") + DEEP[::-1].astype(">u2").tobytes()


def columns(kind: str) -> bytes:
    pl.read_csv(TABLE).__getattribute__(f"write_{kind}")(file := io.BytesIO())
    return file.getvalue()


COLUMNS = {"parquet": columns("parquet"), "arrow": columns("ipc")}


class Seen:
    """A result, by a reader of its own kind."""

    def __init__(self, path: Path) -> None:
        self.info: dict[Any, Any] = {}
        self.mode, self.delays, self.text, self.values = "", [], "", np.empty(0)
        suffix = path.suffix
        if "%" in path.name:
            files = sorted(path.parent.glob("n0*.png"))
            self.__init__(files[0])
            self.delays = [None] * len(files)
        elif suffix in (".png", ".jpg", ".webp", ".bmp", ".gif") or (
            suffix == ".avif" and b"ftypavis" in path.read_bytes()[:16]
        ):
            with Image.open(path) as image:
                for index in range(getattr(image, "n_frames", 1)):
                    image.seek(index)
                    image.load()
                    self.delays.append(image.info.get("duration"))
                self.info, self.values = image.info, np.asarray(image)
                self.mode = "RGBA" if image.has_transparency_data else image.mode
                self.info["maker"] = image.getexif().get(271)
        elif suffix == ".tif":
            with tifffile.TiffFile(path) as tif:
                page = tif.pages[0].aspage()
                self.values, self.delays = page.asarray(), [None] * len(tif.pages)
                self.mode = "CMYK" if page.photometric == 5 else "RGBA" if page.extrasamples else ""
                dpi = page.tags.valueof(282, (1, 1))
                self.info = {"icc_profile": page.tags.valueof(34675), "dpi": [dpi[0] / dpi[1]]}
                self.info |= {"top": page.tags.valueof(281), "about": page.description}
                starts = [float(one) for one in re.findall('DeltaT="([0-9.]+)"', tif.ome_metadata or "")]
                if starts:
                    self.delays = [round(1000 * (b - a)) for a, b in pairwise(starts)] + [520]
        elif suffix in (".avif", ".jxl", ".jp2", ".qoi"):
            decode = {
                ".avif": imagecodecs.avif_decode,
                ".jxl": imagecodecs.jpegxl_decode,
                ".jp2": imagecodecs.jpeg2k_decode,
                ".qoi": imagecodecs.qoi_decode,
            }
            self.values = decode[suffix](path.read_bytes())
            exif = Image.Exif()
            if suffix == ".jxl" and (data := path.read_bytes().partition(b"Exif\0\0\0\0")[2]):
                exif.load(data)
            self.info["maker"] = exif.get(271)
            self.mode = {2: "LA", 4: "RGBA"}.get(self.values.shape[-1], "")
        elif suffix in (".ppm", ".pgm", ".pfm"):
            _, size, white, samples = path.read_bytes().split(b"\n", 3)
            width, height = map(int, size.split())
            kind = {b"255": "u1", b"65535": ">u2", b"-1.0": "<f4"}[white]
            self.values = np.frombuffer(samples, kind).reshape(height, width, -1)[
                :: -1 if kind == "<f4" else 1, :, 0
            ]
        elif suffix == ".tga":
            with Image.open(path) as image:
                self.values, self.mode = np.asarray(image), image.mode
        elif suffix == ".npy":
            self.values = np.load(path)
            self.mode = {2: "LA", 4: "RGBA"}.get(self.values.shape[-1], "")
            self.delays = [None] * (len(self.values) if self.values.ndim == 4 else 1)
        elif suffix == ".nii":
            volume = nibabel.load(path)
            voxels, names = np.asarray(volume.dataobj), volume.get_data_dtype().names or ()
            self.values = (voxels.view((np.uint8, len(names))) if names else voxels).swapaxes(0, 1)
            self.mode = {2: "LA", 4: "RGBA"}.get(voxels.shape[4] if voxels.ndim == 5 else len(names), "")
            self.delays = [None] * max((1, *voxels.shape[2:4]))
            self.info = {"dpi": [25.4 / volume.header.get_zooms()[0]]}
        elif suffix in (".nrrd", ".mha"):
            voxels, deep, step = nrrd_of(path) if suffix == ".nrrd" else metaimage_of(path)
            self.values, self.mode = voxels, {2: "LA", 4: "RGBA"}.get(voxels.shape[-1] if deep else 1, "")
            self.delays = [None] * (len(voxels) if voxels.ndim - deep == 3 else 1)
            self.info = {"dpi": [25.4 / step]}
        elif suffix == ".zarr":
            node = zarr.open(path, mode="r")
            array = node if isinstance(node, zarr.Array) else node["0"]
            names = array.metadata.dimension_names
            self.values = np.moveaxis(array[...], names.index("c"), -1) if "c" in names else array[...]
            self.mode = {2: "LA", 4: "RGBA"}.get(self.values.shape[-1] if "c" in names else 1, "")
            self.delays = [None] * (self.values.shape[0] if {"t", "z"} & {*names} else 1)
            if array is not node:
                level = node.attrs["ome"]["multiscales"][0]["datasets"][0]
                self.info = {"dpi": [1 / level["coordinateTransformations"][0]["scale"][-1]]}
        elif suffix in (".csv", ".tsv"):
            self.text = path.read_text()
        elif suffix in (".parquet", ".arrow"):
            read = pl.read_parquet if suffix == ".parquet" else pl.read_ipc
            self.text = read(path.read_bytes()).write_csv()
        else:
            with av.open(str(path)) as container:
                times = [frame.time for frame in container.decode(video=0)]
            self.delays = [round(1000 * (b - a)) for a, b in pairwise(times)] + [520]


def nrrd_of(path: Path) -> tuple[np.ndarray, bool, float]:
    """Return the samples, the slowest axis first, whether there are channels, and the spacing in millimetres."""
    voxels, header = nrrd.read(str(path), index_order="C")
    inch = 25.4 if "in" in header.get("units", "") else 1.0
    return (
        voxels,
        "vector" in header["kinds"] or "color" in header["kinds"][0],
        inch * header.get("spacings", [1])[-1],
    )


def metaimage_of(path: Path) -> tuple[np.ndarray, bool, float]:
    head, _, data = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    fields = dict(line.split(" = ") for line in head.decode().splitlines())
    count, sizes = int(fields["ElementNumberOfChannels"]), [int(n) for n in fields["DimSize"].split()]
    shape = [n for n in (*sizes[::-1], count) if n > 1]
    kind = {"UCHAR": "u1", "USHORT": "<u2", "SHORT": "<i2", "FLOAT": "<f4", "DOUBLE": "<f8"}
    voxels = np.frombuffer(data, kind[fields["ElementType"].removeprefix("MET_")]).reshape(shape)
    return voxels, count > 1, float(fields["ElementSpacing"].split()[0])


Held = Callable[[Seen], object]
PNG = pillow("PNG")
# of each carrier: the words of a note, whether a result has it, and inputs with it
PICTURES_WITH: dict[str, tuple[str, Held, dict[str, bytes]]] = {
    "profile": ("colour profile", lambda seen: seen.info.get("icc_profile") == PROFILE, {
        "png": pillow("PNG", icc_profile=PROFILE), "jpg": pillow("JPEG", icc_profile=PROFILE),
        "webp": pillow("WEBP", icc_profile=PROFILE), "avif": pillow("AVIF", icc_profile=PROFILE),
        "tif": tiff(iccprofile=PROFILE), "psd": psd(1039, PROFILE)}),
    "EXIF": ("EXIF", lambda seen: seen.info.get("maker") == "abc", {
        "png": pillow("PNG", exif=EXIF), "jpg": pillow("JPEG", exif=b"Exif\0\0" + EXIF),
        "webp": pillow("WEBP", exif=EXIF), "avif": pillow("AVIF", exif=EXIF)}),
    "resolution": ("resolution", lambda seen: abs(seen.info.get("dpi", [0])[0] - 150) < 0.1, {
        "png": pillow("PNG", dpi=(150, 150)), "jpg": pillow("JPEG", dpi=(150, 150)),
        "bmp": pillow("BMP", dpi=(150, 150)), "tif": tiff(resolution=(150, 150), resolutionunit="INCH"),
        "psd": psd(1005, struct.pack(">IHHIHH", 150 << 16, 1, 1, 150 << 16, 1, 1))}),
    "alpha": ("alpha", lambda seen: seen.mode in ("LA", "RGBA"), {
        "png": pillow("PNG", RGBA), "webp": pillow("WEBP", RGBA), "tif": tiff(RGBA, extrasamples=["unassalpha"]),
        "tga": pillow("TGA", RGBA), "avif": pillow("AVIF", RGBA), "gif": pillow("GIF", RGBA),
        "dds": pillow("DDS", RGBA),
        "ico": pillow("ICO", RGBA, sizes=[(16, 12)]), "qoi": pillow("QOI", RGBA), "jp2": pillow("JPEG2000", RGBA)}),
    "16 bits": ("16 bits", lambda seen: str(DEEP[3, 3]) in seen.text or np.array_equal(seen.values, DEEP), {
        "png": pillow("PNG", DEEP), "tif": tiff(DEEP), "pgm": pillow("PPM", DEEP), "sgi": sgi(),
        "jp2": pillow("JPEG2000", DEEP), "npy": npy(DEEP)}),
    "12 bits": ("12 bits", lambda seen: False, {
        "tif": tiff(DEEP // 16, extratags=[(281, "H", 1, 4095, True)]), "btf": tiff(DEEP // 16, bitspersample=12)}),
    "floats": ("never said, but refused", lambda seen: "," in seen.text or seen.values.dtype.kind == "f", {
        "tif": tiff(GREY / np.float32(255)), "npy": npy(GREY / 7),
        "pfm": b"Pf\n16 12\n-1.0\n" + (GREY / np.float32(255)).tobytes()}),
    "inks": ("never said, but refused", lambda seen: seen.mode == "CMYK" or seen.values.shape[-1:] == (4,), {
        "jpg": pillow("JPEG", INKS), "tif": tiff(np.asarray(INKS), photometric="separated")}),
    "further channels": ("never said, but refused", lambda seen: seen.values.shape[-1:] == (5,), {
        "tif": tiff(np.dstack([RGB, RGB[..., :2]]), photometric="minisblack", planarconfig="contig")}),
    "frames": ("never said, but refused", lambda seen: len(seen.delays) == 3, {
        **{name.lower(): moving(name) for name in ("GIF", "WEBP", "PNG", "AVIF")}, "tif": tiff(np.stack([RGB] * 3))}),
    "times": (r"times|lasts|evened", lambda seen: seen.delays == [40, 200, 520], {
        name.lower(): moving(name) for name in ("GIF", "WEBP", "PNG", "AVIF")}),
    "plays": ("plays 3 times", lambda seen: seen.info.get("loop") == (2 if "version" in seen.info else 3), {
        "gif": moving("GIF", loop=2), "webp": moving("WEBP", loop=3), "png": moving("PNG", loop=3)}),
    "channels and places of a microscope": (
        "header of the TIFF|metadata", lambda seen: re.search('"DAPI"|unit=micron', seen.info.get("about", "")), {
            "ome.tif": written(GREY, ome=True, metadata=CELLS | {"Channel": {"Name": "DAPI"}}),
            "tif": written(GREY, imagej=True, resolution=(4, 4), metadata=CELLS)}),
    "names of columns": ("names of the columns", lambda seen: seen.text.startswith(("time,a,b", "time\ta\tb")), {
        "csv": TABLE, "tsv": TABLE.replace(b",", b"\t"), **COLUMNS}),
    "texts": ("columns (?:time, )?name", lambda seen: "z" in seen.text, {
        "csv": TABLE, "tsv": TABLE.replace(b",", b"\t"), **COLUMNS}),
    "positions": ("positions", lambda seen: re.search("^2(?:\\.0)?[,\t]", seen.text, re.MULTILINE), {
        "csv": TABLE, "tsv": TABLE.replace(b",", b"\t"), **COLUMNS}),
}  # fmt: skip
RESULTS = (
    "png",
    "jpg",
    "webp",
    "bmp",
    "gif",
    "avif",
    "jxl",
    "jp2",
    "qoi",
    "tga",
    "ppm",
    "pgm",
    "pfm",
    "tif",
    "ome.tif",
    "npy",
    "nii",
    "nrrd",
    "mha",
    "zarr",
    "csv",
    "tsv",
    "parquet",
    "arrow",
    "mkv",
    "avi",
    "y4m",
)


@pytest.mark.parametrize("carrier", PICTURES_WITH)
def test_what_pictures_arrays_and_tables_carry(
    carrier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, held, inputs = PICTURES_WITH[carrier]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial, "check", cache(trial.check))  # a process for each input, not for each result
    films = carrier in ("frames", "times", "plays")
    options = ("--frames", "all") if films else ()
    kept = 0
    for kind, data in inputs.items():
        Path(f"in.{kind}").write_bytes(data)
        axes = ("--axes", "YX") if kind == "npy" else ()
        for result in (*RESULTS, *["n%04d.png"] * films):
            name = result if "." in result else f"{kind}.{result}"
            code = run(["filter", f"in.{kind}", "-k", "identity", "-y", "-o", name, *options, *axes])
            said = capsys.readouterr().err
            if code:
                assert re.fullmatch("error: .*\n", said), (kind, result)
                assert "internal" not in said
                holds("Pictures, arrays, tables", carrier, result, "refused")
                continue
            there = bool(held(Seen(Path(name))))
            assert there != bool(re.search(words, said)), (kind, result, said)
            holds("Pictures, arrays, tables", carrier, result, "kept" if there else "said")
            kept += there
    assert kept or carrier == "12 bits"


STORED: dict[str, tuple[str, Callable[[h5py.File], object]]] = {  # words of a note, and whether a file has it
    "title": ("attributes", lambda file: file.attrs["title"] == "air"),
    "unit of the values": ("attributes", lambda file: file["tas"].attrs["units"] == "K"),
    "coordinates": ("positions", lambda file: file["lat"][...].tolist() == [10, 20, 40]),
    "packing": ("packed", lambda file: "scale_factor" in file["tas"].attrs),
    "limits of values": ("limits", lambda file: "valid_min" in file["tas"].attrs),
    "map projection": ("projection", lambda file: "grid_mapping" in file["tas"].attrs),
}


@pytest.mark.parametrize("kind", ["nc", "h5"])
def test_what_stores_carry(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5netcdf.File(f"in.{kind}", "w") as file:
        file.attrs["title"] = "air"
        file.dimensions = {"lat": 3, "lon": 4}
        values = np.array([[1, 2, 3, 4], [5, -999, 7, 8], [9, 10, 11, 12]], np.int16)
        array = file.create_variable(
            "tas", ("lat", "lon"), data=values, fillvalue=np.int16(-999), chunks=(2, 2)
        )
        array.attrs.update(units="K", scale_factor=0.5, valid_min=np.int16(0), grid_mapping="crs")
        file.create_variable("lat", ("lat",), data=np.array([10.0, 20, 40])).attrs["units"] = "degrees_north"
    for result in ("h5", "nc", "npy"):
        assert run(["filter", f"in.{kind}", "-k", "identity", "-y", "-o", f"out.{result}"]) == 0
        said = capsys.readouterr().err
        file = None if result == "npy" else h5py.File(f"out.{result}")
        for carrier, (words, held) in STORED.items():
            there = file is not None and bool(held(file))
            assert there != bool(re.search(words, said)), (carrier, result, said)
            holds("Arrays of HDF5 and NetCDF", carrier, result, "kept" if there else "said")
        gap = np.load("out.npy")[1, 1] if file is None else file["tas"][1, 1]
        assert gap == -999 or np.isnan(gap)


STYLED = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,0:00:00.10,Default,,0,0,0,,Look
"""
LIGHT = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
HDR = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", f"log-level=error:master-display={LIGHT}",
       "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")  # fmt: skip
SHORT = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=0.2")
HEARD = ("-f", "lavfi", "-i", "sine=r=48000:d=0.2")
FIELDS = ("-filter:v:0", f"{TAGGED},setfield=tff,format=yuv420p", "-x264opts", "interlaced=1:tff=1", "-flags",
          "+ilme+ildct")  # fmt: skip
ABOUT = ("-metadata:s:v:0", "title=Main", "-metadata:s:v:0", "language=fra", "-metadata:s:a:1", "title=Talk",
         "-metadata:s:a:1", "language=deu", "-metadata:s:s:0", "language=spa", "-metadata:s:s:0", "title=Words",
         "-disposition:a:0", "0", "-disposition:a:1", "default+comment",
         "-disposition:s:0", "forced+hearing_impaired", "-timecode", "01:00:00:00")  # fmt: skip
TRACKS = ("-map", "0", "-map", "1", "-map", "1", "-map", "2", "-map_metadata", "3")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips with all that each container holds."""
    folder = tmp_path_factory.mktemp("clips")
    for name, text in ("a.srt", WORDS), ("a.txt", CHAPTERS), ("a.ass", STYLED):
        (folder / name).write_text(text)
    (folder / "a.ttf").write_bytes(bytes(1024))
    cover = made(folder / "cover.jpg", "-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", "1")
    shapes = sup(folder / "a.sup")
    base = (*SHORT, *HEARD, "-i", folder / "a.srt", "-i", folder / "a.txt")
    made(
        folder / "a.mkv",
        *base,
        "-i",
        shapes,
        "-i",
        folder / "a.ass",
        *TRACKS,
        "-map",
        "4",
        "-map",
        "5",
        *X264,
        *FIELDS,
        "-c:a",
        "libopus",
        "-c:s:0",
        "srt",
        "-c:s:1",
        "copy",
        "-c:s:2",
        "ass",
        *ABOUT,
        "-attach",
        folder / "a.ttf",
        "-metadata:s:t:0",
        "mimetype=application/x-truetype-font",
        "-attach",
        cover,
        "-metadata:s:t:1",
        "mimetype=image/jpeg",
    )
    made(
        folder / "a.mp4",
        *base,
        "-i",
        cover,
        *TRACKS,
        "-map",
        "4",
        *X264,
        *FIELDS,
        "-c:a",
        "aac",
        "-c:s",
        "mov_text",
        "-c:v:1",
        "copy",
        "-disposition:v:1",
        "attached_pic",
        *ABOUT,
    )
    made(folder / "a.mov", *base, *TRACKS, *X264, *FIELDS, "-c:a", "aac", "-c:s", "mov_text", *ABOUT)
    made(
        folder / "a.webm",
        *base,
        *TRACKS,
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-vf",
        TAGGED,
        "-c:a",
        "libopus",
        "-c:s",
        "webvtt",
        *ABOUT,
    )
    made(folder / "a.avi", *base, *TRACKS[:6], *TRACKS[-2:], *X264, *FIELDS, "-c:a", "mp3", *ABOUT[:8])
    made(
        folder / "a.ts",
        *base,
        "-i",
        shapes,
        *TRACKS[:6],
        "-map",
        "4",
        *X264,
        *FIELDS,
        "-c:a",
        "aac",
        "-c:s",
        "dvbsub",
        *ABOUT,
    )
    made(folder / "a.y4m", *SHORT, "-vf", "setsar=4/3,setfield=tff,format=yuv420p")
    made(folder / "dvd.mkv", *SHORT, "-i", shapes, "-map", "0", "-map", "1", *X264, "-c:s", "dvdsub")
    made(folder / "hdr.mp4", *SHORT, *HDR, "-chroma_sample_location", "topleft")
    made(folder / "hdr.mkv", *SHORT, *HDR)
    made(folder / "turned.mp4", "-display_rotation", "90", "-i", folder / "hdr.mp4", "-c", "copy")
    return folder


def carries(path: Path) -> dict[str, object]:
    """Return what a clip carries, by FFmpeg's libraries."""
    found: dict[str, object] = {}
    with av.open(str(path)) as container:
        covers = [s for s in container.streams if s.disposition & Disposition.attached_pic]
        kinds: dict[str, list[Any]] = {}
        for stream in (s for s in container.streams if s not in covers):
            kinds.setdefault(stream.type, []).append(stream)
        found |= {
            "cover picture": len(covers),
            "chapters": [each["metadata"]["title"] for each in container.chapters()],
        }
        found |= {f"{kind} stream": len(kinds.get(kind, ())) for kind in ("audio", "attachment")}
        found |= {f"({s.codec_context.codec.canonical_name})": True for s in kinds.get("subtitle", ())}
        tags = {key.lower(): value for key, value in container.metadata.items()}
        found["tags"] = [tags[key] for key in ("title", "artist") if key in tags]
        for kind in ("video", "audio", "subtitle"):
            about = [{key.lower(): value for key, value in s.metadata.items()} for s in kinds.get(kind, ())]
            for key in ("title", "language", "timecode"):
                found[f"{key} of the {kind}"] = [each[key] for each in about if each.get(key, "und") != "und"]
            for flag in (
                Disposition.default,
                Disposition.forced,
                Disposition.comment,
                Disposition.hearing_impaired,
            ):
                later = kinds.get(kind, [])[flag is Disposition.default :]  # the first is the default anyway
                found[f"{flag.name} of the {kind}"] = any(s.disposition & flag for s in later)
        frames = list(container.decode(kinds["video"][0]))
        sides = {side.type.name for frame in frames for side in frame.side_data}
        aspect = kinds["video"][0].sample_aspect_ratio or 1
        found |= {
            "pixel aspect": aspect != 1 and round(float(aspect), 2),
            "field order": frames[0].interlaced_frame,
        }
        found["colour tags"] = frames[0].color_trc if frames[0].color_trc not in (0, 2) else 0
        found["light of the mastering display"] = sides & {
            "MASTERING_DISPLAY_METADATA",
            "CONTENT_LIGHT_LEVEL",
        }
    found["place of the colour samples"] = "topleft" in described(path)
    return {key: value for key, value in found.items() if value}


FILMS = ("mp4", "mov", "mkv", "webm", "avi", "ts", "y4m")
CONVERTED = [
    ("colour tags", 1),
    ("place of the colour samples", True),
]  # to colours that files of pictures have
OTHERS = ("gif", "webp", "png", "npy", "tif", "%04d.png")


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.webm", "a.avi", "a.ts", "a.y4m", "dvd.mkv", "hdr.mp4",
                                  "hdr.mkv", "turned.mp4"])  # fmt: skip
def test_what_clips_carry(name: str, clips: Path, tmp_path: Path) -> None:
    has, clip, frames = carries(clips / name), opened(clips / name), whole(clips / name)
    assert has
    assert (frames.shape[1:3] == (64, 48)) == (name == "turned.mp4")
    for kind in (*FILMS, *OTHERS):
        format = numbered(by_name("png")) if "%" in kind else by_name(kind)
        notes = [*clip.info.notes, *clip.later, *left_out(clip.info, format)]
        got = {}
        if kind in FILMS:
            notes += write(tmp_path / f"b.{kind}", frames, clip.info)
            got = carries(tmp_path / f"b.{kind}")
        said = "\n".join(notes)
        for carrier, value in has.items():
            what, _, of = carrier.partition(" of the ")
            words = re.escape(carrier)
            if of in ("audio", "subtitle"):
                words = rf"{what}\b.* of the {of}|(?<!of the ){of} streams? \("
            elif of == "video" and kind in OTHERS:
                words = rf"left out: .*\b{what}\b"
            if kind in FILMS or (carrier, value) not in CONVERTED:
                assert got.get(carrier) == value or re.search(words, said), (kind, carrier, value, said)
                holds("Clips", carrier.strip("()"), kind, "kept" if got.get(carrier) == value else "said")
    clip.close()


SAID = {"title": "Low tide", "artist": "Anna", "album": "Sea", "comment": "windy", "date": "2020", "genre": "Field",
        "copyright": "Bo", "track": "3", "composer": "Bo", "album_artist": "Cy", "lyrics": "la", "performer": "Di",
        "publisher": "Ed", "disc": "2", "encoded_by": "Fay", "isrc": "DE123", "language": "deu"}  # fmt: skip
SOUNDS = {"wav": "pcm_s16le", "aiff": "pcm_s16be", "flac": "flac", "mp3": "libmp3lame", "ogg": "libvorbis",
          "opus": "libopus", "m4a": "aac", "mka": "flac", "mp4": "alac", "mov": "aac", "webm": "libopus",
          "aac": "aac"}  # fmt: skip
HEARD_AS = ("wav", "aiff", "flac", "mp3", "ogg", "opus", "m4a", "mp4", "npy", "csv", "parquet", "arrow")


def heard(path: Path) -> dict[str, object]:
    """Return what a sound carries, by FFmpeg's libraries."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        tags = {key.lower(): text for key, text in {**stream.metadata, **container.metadata}.items()}
        tags["artist"] = tags.get("artist", tags.get("author"))  # of an AIFF
        found: dict[str, object] = {
            key: tags[key] for key in SAID if tags.get(key, "und") not in (None, "und")
        }
        covers = [one for one in container.streams if one.disposition & Disposition.attached_pic]
        found |= dict.fromkeys(
            ["chapters"] * bool(container.chapters()) + ["cover picture"] * bool(covers), 1
        )
        return found


@pytest.mark.parametrize("kind", SOUNDS)
def test_what_sounds_carry(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(CHAPTERS)
    made(Path("c.jpg"), "-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", "1")
    texts = [part for key, text in SAID.items() for part in ("-metadata", f"{key}={text}")]
    cover = ("-map", "2", "-c:v", "copy", "-disposition:v:0", "attached_pic") * (
        kind in ("flac", "mp3", "m4a")
    )
    texts += ["-metadata:s:a", "language=deu", *["-write_id3v2", "1"] * (kind == "aiff")]
    source = made(Path(f"in.{kind}"), *HEARD, "-i", "a.txt", "-i", "c.jpg", "-map", "0", *cover, "-map_chapters", "1",
                  *texts, "-c:a", SOUNDS[kind])  # fmt: skip
    has = heard(source)
    assert len(has) > 5 or kind == "aac"
    for result in HEARD_AS:
        assert not run(["filter", str(source), "-k", "identity", "-y", "-o", f"out.{result}"])
        said = capsys.readouterr().err
        got = heard(Path(f"out.{result}")) if HEARD_AS.index(result) < 8 else {}
        for carrier, value in has.items():
            words = (
                rf"\b{carrier}\b" + r"|ID3 tags" * (kind == "aiff") + "|track number" * (carrier == "track")
            )
            assert got.get(carrier) == value or re.search(words, said), (result, carrier, value, said)
            holds("Sounds", carrier, result, "kept" if got.get(carrier) == value else "said")
