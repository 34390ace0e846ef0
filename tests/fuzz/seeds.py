"""Small real files for every reader, made by other writers: Pillow, tifffile, numpy, safetensors, FFmpeg."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import av
import h5netcdf
import h5py
import imagecodecs
import nibabel
import nrrd
import numcodecs
import numpy as np
import polars as pl
import soundfile
import tifffile
import zarr
from astropy.io import fits as hdu
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from convcli.cli.program import run
from tests import clips
from tests.fuzz.models import models
from tests.pictures import chunk

ROOT = Path(__file__).parents[2]
Y, X = np.mgrid[:14, :19]
GREY = ((np.sin(X / 3) + np.cos(Y / 2) + 2) * 60).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], -1)
DEEP = GREY.astype(np.uint16) * 257
MOVING = [Image.fromarray(np.roll(RGB, 3 * shift, 1) // 32 * 32) for shift in range(3)]
CLIPS = {  # how the tests' clips are coded, a container each
    "mp4": {"codec": "libx264"},
    "mkv": {"codec": "ffv1"},
    "webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "mov": {"codec": "libx264", "rotation": 90},
    "ts": {"codec": "libx264"},
    "y4m": {"codec": "wrapped_avframe"},
}


SOUNDS = {  # libsndfile's containers and codings
    "wav": (("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("RF64", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAV", "ULAW")),
    "aiff": (("AIFF", "PCM_16"), ("AIFF", "DOUBLE"), ("AIFF", "ALAW")),
    "flac": (("FLAC", "PCM_S8"), ("FLAC", "PCM_24")),
    "mp3": (("MP3", "MPEG_LAYER_III"),),
    "ogg": (("OGG", "VORBIS"),),
    "opus": (("OGG", "OPUS"),),
}


def volume(kind: type, packed: bool) -> bytes:
    """Return a small NIfTI file with an extension."""
    image = kind(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.diag([1.5, 2, 3, 1]))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a comment"))
    data = image.to_bytes()
    return gzip.compress(data, mtime=0) if packed else data


def dicom_files() -> Iterator[bytes]:
    """Yield small DICOM files: of a slice in space, of frames with groups of their own, and compressed."""
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        made = dicom(DEEP, syntax)
        made.ImagePositionPatient, made.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.RescaleSlope, made.RescaleIntercept, made.PixelPaddingValue = (
            [1, 2],
            2,
            -1024,
            0,
        )
        yield dicom_bytes(made)
    frames = dicom(np.stack([GREY[::-1], GREY]), uid.ExplicitVRLittleEndian)
    groups = []
    for z in (3, 1):
        groups.append(Dataset())
        groups[-1].PlanePositionSequence, groups[-1].PlaneOrientationSequence = [Dataset()], [Dataset()]
        groups[-1].PlanePositionSequence[0].ImagePositionPatient = [0, 0, z]
        groups[-1].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    frames.PerFrameFunctionalGroupsSequence = groups
    yield dicom_bytes(frames)
    streams = {
        uid.JPEGBaseline8Bit: pillow(GREY, "JPEG"),
        uid.JPEGLSLossless: imagecodecs.jpegls_encode(GREY),
        uid.JPEG2000Lossless: imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k"),
    }
    for syntax, stream in streams.items():
        made = dicom(GREY, syntax)
        made.PixelData = encapsulate([stream])
        made["PixelData"].is_undefined_length = True
        yield dicom_bytes(made)
    made = dicom(DEEP, uid.ExplicitVRLittleEndian)
    made.compress(uid.RLELossless)
    yield dicom_bytes(made)


def dicom(pixels: np.ndarray, syntax: str) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = uid.CTImageStorage, "1.2.3.4", "1.2.3"
    made.PatientName, made.PhotometricInterpretation, made.SamplesPerPixel = "Doe^Jane", "MONOCHROME2", 1
    made.Rows, made.Columns, made.NumberOfFrames = *pixels.shape[-2:], len(pixels) if pixels.ndim == 3 else 1
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    made.PixelData = pixels.astype(
        pixels.dtype.newbyteorder("<>"[syntax == uid.ExplicitVRBigEndian])
    ).tobytes()
    made["PixelData"].VR = "OW" if pixels.itemsize == 2 or syntax == uid.ImplicitVRLittleEndian else "OB"
    return made


def dicom_bytes(made: Dataset) -> bytes:
    made.save_as(file := io.BytesIO(), enforce_file_format=True)
    return file.getvalue()


def nrrd_file(encoding: str) -> bytes:
    """Return a small NRRD file with vectors, and places of the samples."""
    fields = {
        "kinds": ["vector", "domain", "domain", "domain"],
        "space": "left-posterior-superior",
        "space directions": np.array([[np.nan] * 3, [1.5, 0, 0], [0, 2, 0.5], [0, 0, 3]]),
        "space origin": [1, 2, 3],
        "labels": ["v", "x", "y", "z"],
        "encoding": encoding,
    }
    nrrd.write(file := io.BytesIO(), np.arange(120, dtype=np.int16).reshape(2, 4, 3, 5), fields)
    return file.getvalue()


def metaimage(packed: bool) -> bytes:
    """Return a small MetaImage."""
    data = np.arange(120, dtype="<i2").tobytes()
    head = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = {packed}\nOffset = 1 2 3\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 1.5 2 3\nDimSize = 4 5 3\n"
        "ElementNumberOfChannels = 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return head.encode() + (zlib.compress(data) if packed else data)


def scientific(form: str) -> bytes:
    """Return a small HDF5 file of an old or a new form, or NetCDF: an array with coordinates."""
    file = io.BytesIO()
    values = np.arange(600, dtype=np.int16).reshape(20, 30)
    packing = {} if form == "earliest" else {"chunks": (8, 10), "compression": "gzip", "shuffle": True}
    if form == "nc":
        with h5netcdf.File(file, "w") as store:
            store.dimensions = {"lat": 20, "lon": 30}
            array = store.create_variable("t", ("lat", "lon"), data=values, fillvalue=np.int16(-9), **packing)
            array.attrs.update(units="K", scale_factor=0.5, coordinates="lat lon")
            for name, size in (("lat", 20), ("lon", 30)):
                store.create_variable(name, (name,), data=np.arange(size) / 4).attrs["units"] = "degrees_east"
        return file.getvalue()
    with h5py.File(file, "w", libver=form) as store:
        array = store.create_dataset("entry/data", data=values, **packing)
        array.attrs["units"] = "K"
        store["x"] = np.arange(30.0)
        store["x"].make_scale("x")
        array.dims[1].attach_scale(store["x"])
        store["texts"] = ["a", "b"]
    return file.getvalue()


@cache
def stores() -> tuple[bytes, ...]:
    """Return small Zarr stores, each as an archive of its files."""
    values = np.arange(480, dtype=np.int16).reshape(2, 12, 20)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    moves = [{"type": "scale", "scale": [2, 0.5, 0.5]}, {"type": "translation", "translation": [0, 1, 1]}]
    levels = [{"path": str(n), "coordinateTransformations": moves} for n in range(2)]
    about = {"multiscales": [{"axes": axes, "datasets": levels, "name": "a"}], "omero": {"channels": []}}
    plain: list[dict[str, Any]] = [
        {"zarr_format": 2, "compressors": numcodecs.GZip(), "filters": [numcodecs.Delta("<i2")]},
        {
            "zarr_format": 2,
            "compressors": numcodecs.Blosc(),
            "attributes": {"_ARRAY_DIMENSIONS": ["time", "y", "x"]},
        },
        {"shards": (2, 8, 20), "dimension_names": ("z", "y", "x")},
        {"attributes": {"_FillValue": 7, "scale_factor": 0.5}, "compressors": zarr.codecs.BloscCodec()},
    ]
    made = []
    for number in range(len(plain) + 2):
        with tempfile.TemporaryDirectory() as folder:
            if number < len(plain):
                options = {"shape": values.shape, "dtype": "i2", "chunks": (1, 4, 10)} | plain[number]
                zarr.create_array(folder, **options)[...] = values
            else:
                version = number - len(plain) + 2
                group = zarr.create_group(
                    folder,
                    zarr_format=version,
                    attributes=about if version == 2 else {"ome": {"version": "0.5", **about}},
                )
                for level in range(2):
                    group.create_array(str(level), shape=values.shape, dtype="i2", chunks=(2, 12, 20))[
                        ...
                    ] = values
            with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
                for path in sorted(Path(folder).rglob("*")):
                    if path.is_file():
                        archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes())
            made.append(file.getvalue())
    return tuple(made)


def sounds(name: str) -> tuple[bytes, ...]:
    """Return short sounds with tags."""
    made = []
    for number, (container, coding) in enumerate(SOUNDS[name]):
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", 8000, 1 + number % 2, coding, format=container) as sound:
            sound.title, sound.comment = "Low tide", "a comment"
            sound.write(np.sin(np.arange(3000) / 9)[:, None] * np.full(1 + number % 2, 0.4))
        made.append(file.getvalue())
    return tuple(made)


def apple(codec: str, format: str, muxer: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=8000)
        stream.codec_context.layout, stream.codec_context.format = "mono", format
        values = np.sin(np.arange(3000) / 9)[None] * 0.4
        samples = values.astype(np.float32) if format == "fltp" else (values * 2**15).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format, "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


def pillow(picture: Image.Image | np.ndarray, format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    with warnings.catch_warnings(
        action="ignore", category=DeprecationWarning
    ):  # IM will leave Pillow in 2028
        image.save(file, format, **settings)
    return file.getvalue()


def moving(format: str) -> bytes:
    return pillow(MOVING[0], format, save_all=True, append_images=MOVING[1:])


def framed(format: str, **settings: object) -> bytes:
    """An animation whose frames cover a part of the canvas each."""
    frames = [MOVING[0].convert("RGBA")]
    for shift in range(3):
        frames.append(frames[-1].copy())
        frames[-1].paste((80 * shift, 30, 200, 255), (2 + 3 * shift, 4, 9 + 3 * shift, 10))
    return pillow(frames[0], format, save_all=True, append_images=frames[1:], duration=70, loop=2, **settings)


def deep_apng() -> bytes:
    """Two frames of 16-bit grey, the second smaller; Pillow writes none."""

    def packed(pixels: np.ndarray) -> bytes:
        return zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels))

    height, width = DEEP.shape
    frames = [(width, height, 0, 0), (8, 6, 5, 4)]
    controls = [struct.pack(">5IHHBB", 2 * n, *frame, 1, 10, n, n) for n, frame in enumerate(frames)]
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"fcTL", controls[0]),
        chunk(b"IDAT", packed(DEEP)),
        chunk(b"fcTL", controls[1][:3] + b"\1" + controls[1][4:]),
        chunk(b"fdAT", struct.pack(">I", 2) + packed(DEEP[:6, :8])),
        chunk(b"IEND", b""),
    ))  # fmt: skip


def pages(*pictures: np.ndarray | Image.Image, **settings: object) -> bytes:
    """A TIFF whose pages differ in palette, depth or coding."""
    images = [
        picture if isinstance(picture, Image.Image) else Image.fromarray(picture) for picture in pictures
    ]
    return pillow(images[0], "TIFF", save_all=True, append_images=images[1:], **settings)


def y4m(space: str, *planes: np.ndarray, interlace: str = "p") -> bytes:
    """Return two frames of planes; the first is of full size."""
    height, width = planes[0].shape
    head = f"YUV4MPEG2 W{width} H{height} F30000:1001 I{interlace} A1:1 C{space} XYSCSS={space}\n".encode()
    return (
        head + (b"FRAME\n" + b"".join(plane.astype(f"<u{plane.itemsize}").tobytes() for plane in planes)) * 2
    )


def by_hand(name: str) -> tuple[bytes, ...]:
    """Return files of a format that Pillow reads and does not write, or only in sizes that are large."""
    image, (height, width) = Image.fromarray(RGB), GREY.shape
    rows = b"".join(row.tobytes() + bytes(width % 2) for row in GREY)
    match name:
        case "psd":
            head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3) + bytes(12)
            return (head + b"\0\0" + np.moveaxis(RGB, 2, 0).tobytes(),)
        case "sun":
            return (struct.pack(">8I", 0x59A66A95, width, height, 8, len(rows), 1, 0, 0) + rows,)
        case "fli":
            coded = b"".join(b"\1" + bytes([256 - width]) + row.tobytes() for row in GREY)
            inside = struct.pack("<IHHBB", 0, 4, 1, 0, 0) + bytes(range(256)) * 3  # a palette
            inside = struct.pack("<I", len(inside)) + inside[4:]
            inside += struct.pack("<IH", 6 + len(coded), 15) + coded
            frame = struct.pack("<IHH8x", 16 + len(inside), 0xF1FA, 2) + inside
            head = struct.pack("<IHHHHHHI", 128 + 2 * len(frame), 0xAF12, 2, width, height, 8, 3, 70)
            return (head.ljust(128, b"\0") + frame * 2,)
        case "xpm":
            lines = ["".join("ab"[int(value > 99)] for value in row) for row in GREY]
            words = ",\n".join(
                f'"{line}"' for line in (f"{width} {height} 2 1", "a c #102030", "b c #ffa500", *lines)
            )
            return (f"/* XPM */\nstatic char * a[] = {{\n{words}\n}};\n".encode(),)
        case "cur":
            icon = pillow(
                Image.fromarray(np.dstack([RGB, GREY])).resize((16, 16)), "ICO", bitmap_format="bmp"
            )
            return (b"\0\0\2\0" + icon[4:],)
        case "dcx":
            picture = pillow(GREY, "PCX")
            return (struct.pack("<4I", 0x3ADE68B1, 12, 0, 0)[:12] + picture,)
        case "ftex":
            texels = RGB.tobytes()
            return (struct.pack("<4s8I", b"FTEX", 1, width, height, 1, 1, 1, 32, len(texels)) + texels,)
        case "icns":
            picture = pillow(image.resize((16, 16)), "PNG")
            return (b"icns" + struct.pack(">I4sI", 16 + len(picture), b"icp4", 8 + len(picture)) + picture,)
        case "pxr":
            head = b"\x80\xe8\0\0".ljust(416, b"\0") + struct.pack("<HH4xHH", height, width, 14, 2)
            return (head.ljust(1024, b"\0") + RGB.tobytes(),)
        case "gbr":
            head = struct.pack(">5I4sI", 29, 2, width, height, 1, b"GIMP", 10) + b"\0"
            return (head + GREY.tobytes(),)
        case "p7":
            return (b"P7 332\n#END_OF_COMMENTS\n" + f"{width} {height} 255\n".encode() + GREY.tobytes(),)
        case _:
            raise KeyError(name)


WRITTEN = {"sgi": "SGI", "pcx": "PCX", "im": "IM", "blp": "BLP", "xbm": "XBM", "msp": "MSP"}
BY_HAND = ("psd", "sun", "fli", "xpm", "cur", "dcx", "ftex", "icns", "pxr", "gbr", "p7")


def tiff(pixels: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **settings)
    return file.getvalue()


_PLANES = "".join(
    f'<TiffData IFD="{n}" FirstT="{n // 3}" FirstZ="{n % 3}" PlaneCount="1"/>' for n in range(6)
)
DESCRIPTIONS = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image '
    'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="uint16" SizeX="19" SizeY="14" SizeZ="3" SizeT="2" '
    'SizeC="1" PhysicalSizeX="0.5" PhysicalSizeZ="2" PhysicalSizeZUnit="nm" SignificantBits="12"><Channel Name="a" '
    f'SamplesPerPixel="1"/>{_PLANES}<Plane TheT="0" TheZ="0" TheC="0" DeltaT="1" PositionX="5" PositionXUnit="mm"/>'
    '<Plane TheT="1" TheZ="0" TheC="0" DeltaT="3"/></Pixels></Image><Image ID="Image:1"/><ROI ID="ROI:0"/></OME>',
    '<OME xmlns="a"><Image><Pixels DimensionOrder="XYCZT" SizeX="19" SizeY="14" SizeZ="1" SizeT="1" SizeC="6" '
    'TimeIncrement="1"><TiffData IFD="0" PlaneCount="6"><UUID FileName="a">1</UUID></TiffData></Pixels></Image></OME>',
    "ImageJ=1.53\nimages=6\nchannels=1\nslices=3\nframes=2\nhyperstack=true\nspacing=0.5\nunit=micron\nfinterval=2\n",
)  # fmt: skip


EXTREMES = (0.0, -0.0, 1.0, -30.0, 5e-324, 1e-300, 1e16, 1e308, -1e308, float("nan"), float("inf"))


def drawn_map(rng: Random) -> bytes:
    """Return a GeoTIFF whose places are drawn: extreme, missing or too many."""

    def some(kind: int, values: Sequence[Any], most: int) -> tuple[int, tuple[Any, ...]]:
        return kind, tuple(rng.choice(values) for _ in range(rng.choice((1, 2, most, most, most, 2 * most))))

    keys = (0, 1, 2, 1024, 1025, 2048, 3072, 3076, 4326, 32632, 34735, 34736, 34737, 65535)
    tags = {
        33550: some(12, EXTREMES, 3),
        33922: some(12, EXTREMES, 6),
        34264: some(12, EXTREMES, 16),
        34735: (3, (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, *some(3, keys, 1)[1])),
        42113: (2, rng.choice(("", "nan", "1e999", "-0", "9" * 400, "0", "x")) + "\0"),
        42112: (2, rng.choice(("<a>", "<GDALMetadata><Item/></GDALMetadata>", "&a;", "\x1b[2J")) + "\0"),
    }
    chosen = [one for one in tags.items() if rng.random() < 0.6]
    extra = [(tag, kind, len(values), values, True) for tag, (kind, values) in chosen]
    return tiff(GREY, extratags=extra, metadata=None)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@cache
def clip(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{suffix}")
        frames = clips.pattern(3, 32, 32)
        if suffix == "y4m":
            planes = b"".join(b"FRAME\n" + bytes(plane) for plane in frames[..., 0])
            return b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 Cmono\n" + planes
        clips.make(path, frames, **CLIPS[suffix])
        return path.read_bytes()


@cache
def files(reader: str) -> tuple[bytes, ...]:
    """Return the whole files of a reader that are spoiled."""
    image = Image.fromarray(RGB)
    alpha = Image.fromarray(np.dstack([RGB, GREY]))
    match reader:
        case "png":
            extras = {
                "icc_profile": b"x" * 200,
                "dpi": (3, 4),
                "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0",
            }
            kinds = (RGB, GREY, DEEP, alpha, image.quantize(9), Image.fromarray(GREY > 99))
            return (*(pillow(kind, "PNG") for kind in kinds), pillow(RGB, "PNG", **extras), moving("PNG"))
        case "jpeg":
            exif = Image.Exif()
            exif[0x0112], exif[0x010E] = 6, "turned"
            carried = {"exif": exif, "icc_profile": b"x" * 70_000, "dpi": (72, 99), "comment": b"a comment"}
            return (
                pillow(RGB, "JPEG"),
                pillow(RGB, "JPEG", progressive=True, restart_marker_blocks=1),
                pillow(GREY, "JPEG"),
                pillow(image.convert("CMYK"), "JPEG"),
                pillow(RGB, "JPEG", subsampling=2, xmp=b"<x:xmpmeta/>", **carried),
                pillow(image, "MPO", save_all=True, append_images=MOVING),
            )
        case "parquet" | "arrow":
            table = pl.DataFrame({"t": np.arange(9.0), "a": [1, None, 3] * 3, "b": ["x", "yy", None] * 3})
            file, other = io.BytesIO(), io.BytesIO()
            if reader == "parquet":
                table.write_parquet(file, compression="uncompressed")
                table.write_parquet(other, compression="snappy", use_pyarrow=False)
            else:
                table.write_ipc(file)
                table.write_ipc(other, compression="lz4")
            return file.getvalue(), other.getvalue()
        case "nii" | "nii.gz":
            return tuple(
                volume(kind, reader == "nii.gz") for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image)
            )
        case "dcm":
            return tuple(dicom_files())
        case "nrrd":
            return tuple(nrrd_file(encoding) for encoding in ("raw", "gzip"))
        case "mha":
            return tuple(metaimage(packed) for packed in (False, True))
        case "h5":
            return tuple(map(scientific, ("earliest", "latest", "nc")))

        case "zarr":
            return stores()
        case "m4a":
            return apple("aac", "fltp", "ipod"), apple("alac", "s16p", "ipod")
        case "aac":
            return (apple("aac", "fltp", "adts"),)
        case _ if reader in SOUNDS:
            return sounds(reader)
        case "apng":
            return (
                framed("PNG", disposal=2, blend=0),
                framed("PNG", disposal=1, blend=1, default_image=True),
                deep_apng(),
            )
        case "webp":
            return pillow(RGB, "WEBP"), pillow(alpha, "WEBP", lossless=True), moving("WEBP")
        case "webp frames":
            return framed("WEBP"), framed("WEBP", lossless=True, background=(9, 9, 9, 9))
        case "gif frames":
            still = [Image.fromarray(np.roll(RGB, n, 0)).quantize(4 + 9 * n) for n in range(3)]
            palettes = pillow(
                still[0], "GIF", save_all=True, append_images=still[1:], duration=[0, 20, 5], comment=b"c"
            )
            return (
                framed("GIF", disposal=2),
                framed("GIF", disposal=3),
                palettes,
                framed("GIF", transparency=0),
            )
        case "tiff pages":
            return (
                pages(image.quantize(9), image.quantize(30), image.rotate(90)),
                pages(DEEP, GREY, compression="tiff_lzw"),
                pages(alpha, alpha, compression="tiff_adobe_deflate", big_tiff=True),
                tiff(np.stack([RGB] * 3), photometric="rgb", rowsperstrip=5, compression="zlib"),
                tiff(np.stack([DEEP] * 3), ome=True, tile=(16, 16)),
            )
        case "bmp":
            return tuple(pillow(kind, "BMP") for kind in (RGB, GREY, image.quantize(9), alpha))
        case "gif":
            return pillow(GREY, "GIF"), pillow(image.quantize(9), "GIF"), moving("GIF")
        case "tiff strips":
            return (
                tiff(RGB, rowsperstrip=3),
                tiff(DEEP, byteorder=">"),
                tiff(GREY.astype(np.float32), bigtiff=True),
                tiff(np.stack([DEEP] * 3), imagej=True),
                tiff(np.stack([DEEP] * 3), ome=True),
                tiff(np.moveaxis(RGB, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
                pillow(image.quantize(9), "TIFF"),
            )
        case "tiff tiles":
            return tiff(RGB, tile=(16, 16)), tiff(RGB, tile=(16, 16), compression="zlib", predictor=True)
        case "tiff compressed":
            coded = ("zlib", "lzw", "packbits", "zstd", "lzma", "jpeg", "webp", "jpeg2000")
            return (
                *(tiff(RGB, photometric="rgb", compression=name) for name in coded),
                pillow(Image.fromarray(GREY > 99), "TIFF", compression="group4"),
                pillow(Image.fromarray(GREY > 99), "TIFF", compression="group3"),
            )
        case "pam":
            head = f"P7\nWIDTH {GREY.shape[1]}\nHEIGHT {GREY.shape[0]}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
            return (head.encode() + RGB.tobytes(),)
        case "tga":
            head = struct.pack("<BBB5xHHHHBB", 0, 0, 2, 0, 0, *GREY.shape[::-1], 16, 0)
            return pillow(image, "TGA"), pillow(alpha, "TGA"), head + (GREY.astype("<u2") * 119).tobytes()
        case "j2k":
            return pillow(image, "JPEG2000", no_jp2=True), bytes(
                imagecodecs.jpeg2k_encode(DEEP, 0, codecformat="j2k")
            )
        case "pgm":
            return pillow(GREY, "PPM"), pillow(DEEP, "PPM"), b"P2\n# grey\n3 2\n9\n0 1 2\n3 4 9\n"
        case "pbm":
            return pillow(image.convert("1"), "PPM"), b"P1\n3 2\n0 1 0\n1 1 0\n"
        case "pfm":
            heads = (
                f"{kind}\n{GREY.shape[1]} {GREY.shape[0]}\n{end}\n"
                for kind, end in (("Pf", -1.0), ("PF", 1.0))
            )
            orders = (GREY.astype("<f4"), RGB.astype(">f4"))
            return tuple(head.encode() + values.tobytes() for head, values in zip(heads, orders, strict=True))
        case "pcd":
            data = bytearray(RGB.tobytes() * 1000)[: 96 * 2048 + 768 * 512 * 3 // 2]
            data[2048:2052] = b"PCD_"
            return (bytes(data),)
        case "ome.tif":
            return (
                tiff(np.stack([DEEP] * 3), ome=True),
                tiff(np.stack([GREY] * 6).reshape(2, 3, *GREY.shape), ome=True, metadata={"axes": "CZYX"}),
            )
        case "nc":
            return (scientific("nc"),)
        case "fits":
            return fits()
        case "avif" | "jp2" | "ppm" | "dds" | "dib" | "ico" | "qoi":
            name = {"jp2": "JPEG2000"}.get(reader, reader.upper())
            few = np.stack([DEEP] * 3, -1) >> 6
            deep = {
                "jp2": lambda: imagecodecs.jpeg2k_encode(few << 6, 0, codecformat="jp2", reversible=True),
                "avif": lambda: imagecodecs.avif_encode(few, 100, bitspersample=10),
            }
            more = [bytes(deep[reader]())] if reader in deep else []
            return (
                *(pillow(kind, name) for kind in (image, alpha)[: 1 + (reader not in ("ppm", "jp2"))]),
                *more,
            )
        case "avif frames":
            return (moving("AVIF"), framed("AVIF"))
        case "jxl":
            deep = np.stack([DEEP] * 3, -1)
            how: dict[str, object] = {"lossless": True}
            return (
                *(
                    bytes(imagecodecs.jpegxl_encode(one, **how))
                    for one in (GREY, deep, deep / np.float32(65535))
                ),
                bytes(imagecodecs.jpegxl_encode(GREY, usecontainer=True))
                + struct.pack(">I4s4x", 16, b"Exif")
                + b"II*\0",
                bytes(imagecodecs.jpegxl_encode(np.stack([GREY, GREY]), planar=True, **how)),
            )
        case _ if reader in WRITTEN:
            kind = {"blp": image.quantize(9), "xbm": image.convert("1"), "msp": image.convert("1")}.get(
                reader, image
            )
            return (pillow(kind, WRITTEN[reader]),)
        case _ if reader in BY_HAND:
            return by_hand(reader)
        case "y4m":
            half = DEEP[::2, :-1:2] >> 6
            return (
                clip("y4m"),
                y4m("420p10", DEEP[:, :-1] >> 6, half, half),
                y4m("444alpha", GREY, GREY, GREY, GREY, interlace="t"),
                y4m("mono16", DEEP),
            )
        case "pth":
            import torch

            weights = {"a.weight": torch.arange(9.0).reshape(3, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
            new, old = io.BytesIO(), io.BytesIO()
            torch.save(weights, new)
            torch.save({"net": weights}, old, _use_new_zipfile_serialization=False)
            return new.getvalue(), old.getvalue()
        case "checkpoint":
            from safetensors.numpy import save

            settings = {"epochs": 3, "batch": 4, "lr": "0.001", "optimizer": "adam", "loss": "mse", "seed": 0}
            facts = {"steps": 8, "curve": [[1, 0.5, None], [2, 0.25, 0.5]], "settings": settings}
            arrays = {name: np.ones((2, 3), np.float32) for name in ("a", "optimizer/a/step", "best/a")}
            return (save(arrays, {"training": json.dumps(facts)}),)
        case "maps":
            return tuple(drawn_map(Random(number)) for number in range(6))
        case "job":
            with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
                np.save("a.npy", np.arange(60_000.0).reshape(60, 1000))
                words = ["filter", "a.npy", "-k", "box:3", "--axes", "YX", "-o", "b.npy"]
                with contextlib.redirect_stderr(io.StringIO()):
                    assert run([*words, "--workers", "1", "--part", "1/2"]) == 0
                made = Path("b.npy.job")
                logs = b"".join(one.read_bytes() for one in sorted(made.glob("*.log")))
                return ((made / "job.json").read_bytes() + b"\0" + logs,)
        case "labels":
            return (
                b"file,label\na.png,cat\nb.png,dog\n",
                b'\xef\xbb\xbffile,x,y\r\n"a.png",1,2\r\nb.png,"3",4\r\n',
            )
        case "npy":
            kinds = (RGB, GREY.astype(">i2"), GREY.astype(np.float64), np.asfortranarray(DEEP), GREY[0] > 99)
            return tuple(map(npy, kinds))
        case "npz":
            stored, packed = io.BytesIO(), io.BytesIO()
            np.savez(stored, a=np.arange(9.0).reshape(3, 3), b=np.ones(4, np.int8))
            np.savez_compressed(packed, a=np.arange(9.0).reshape(3, 3))
            with zipfile.ZipFile(mixed := io.BytesIO(), "w", zipfile.ZIP_BZIP2) as archive:
                archive.writestr("a.npy", npy(np.eye(3)))
            return stored.getvalue(), packed.getvalue(), mixed.getvalue()
        case "safetensors":
            from safetensors.numpy import save

            weights = np.arange(9, dtype=np.float32).reshape(3, 3)
            return save({"a": weights}), save({"a": weights, "b": weights.astype(np.float16)})
        case "csv":
            return (
                (ROOT / "samples/noisy-signal.csv").read_bytes()[:400],
                b"time;a;name\r\n0,5;1,25;x\r\n1,0;;y\r\n1,5;3,5;z\r\n",
                b'a,"b, c",d\n1,"2",3\n4,"5",6\n7,NaN,9\n',
                b"\xef\xbb\xbfa|b\n1e3|-2\n+.5|0x10\n",
                b"1,2,3\n4,5,6\n7,8,9",
                b'when,2019,2020,"a note"\n2024-01-31T12:00:00Z,1,2,"two\nlines"\n2024-02-01T12:00:00Z,3,,x\n',
                b"12:00:01,5%,1 000,True\n12:00:02,6%,2 000,False\n12:00:03,7%,3 000,True\n",
                b"# a comment\nx,y\n1,99999999999999999999999\n2,1e400\n3,-0.0\n",
            )
        case "onnx":
            return models()
        case "tsv":
            return b"a\tb\n1\t2\n3\t4\n5\t\n", b"1\t2\t3\n4\t5\t6\n"
        case _:
            return (clip(reader),)


def fits() -> tuple[bytes, ...]:
    """Return images of the plug-in's format: plain, scaled, in an extension, and compressed."""
    plain = hdu.PrimaryHDU(GREY.astype(">f4"))
    plain.header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRPIX1=3.0, CRPIX2=4.0, CDELT1=-0.1, CDELT2=0.1)
    found = []
    for parts in ([plain], [hdu.PrimaryHDU(DEEP)], [hdu.PrimaryHDU(), hdu.CompImageHDU(GREY.astype(">i2"))]):
        hdu.HDUList(parts).writeto(file := io.BytesIO())
        found.append(file.getvalue())
    return tuple(found)


@cache
def yamls(kind: str) -> tuple[bytes, ...]:
    """Return kernel files, or net files."""
    if kind == "kernel yaml":
        return tuple(path.read_bytes() for path in sorted((ROOT / "kernels").glob("*.yaml")))
    names = ("lenet", "pyramid", "resnet-stem", "sobel-pool", "autoencoder")
    return tuple((ROOT / f"samples/{name}.yaml").read_bytes() for name in names)


av.logging.set_level(None)  # what libav thinks of spoiled files is no news here
