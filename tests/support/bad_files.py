"""Damaged, hostile and absurd files, by kind: the bytes of what `repro` may meet instead of what it expects."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Writer = Callable[[Path], None]
CANARY = "REPRO_CANARY"
"""Environment variable with the file that hostile input tries to make."""

_RNG_SEED = 7
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"


def noise(size: int) -> bytes:
    return np.random.default_rng(_RNG_SEED).bytes(size)


def photo(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(_RNG_SEED).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def damaged(data: bytes) -> dict[str, bytes]:
    """``data`` cut off at several places, and what is no such file at all."""
    cuts = {f"cut at {100 * share // 10} %": data[: max(1, len(data) * share // 10)] for share in (1, 3, 5, 8)}
    return {
        "empty": b"",
        **cuts,
        "noise": noise(len(data)),
        "zeros": bytes(len(data)),
        "text": b"not found\n",
        "a web page": HTML,
    }


def put(data: bytes) -> Writer:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def _png(width: int, height: int, depth: int, colour: int, body: bytes, *more: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


@cache
def absurd_images() -> dict[str, bytes]:
    """Headers that promise what no memory holds, or nothing."""
    bmp = bytearray(encoded(photo(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 2_000_000_000, 2_000_000_000)
    return {
        "png of 60000 x 60000": _png(60_000, 60_000, 8, 2, b"\0"),
        "png of 2 billion pixels a side": _png(2_000_000_000, 2_000_000_000, 16, 6, b""),
        "png of no pixel": _png(0, 0, 8, 2, b""),
        "png of an impossible depth": _png(4, 4, 7, 9, b"\0" * 20),
        "png with a text bomb": _png(4, 4, 8, 0, b"\0" * 20, (b"zTXt", b"k\0\0" + zlib.compress(bytes(80_000_000)))),
        "png of too little data": _png(64, 64, 8, 2, b"\0" * 10),
        "bmp of 2 billion pixels a side": bytes(bmp),
        "tiff of a directory that points at itself": b"II*\0\x08\0\0\0\x01\0"
        + struct.pack("<HHII", 256, 4, 1, 8)
        + b"\x08\0\0\0",
        "tiff of 4 billion entries": b"II*\0\x08\0\0\0\xff\xff" + noise(40),
        "jpeg of nothing but its start": b"\xff\xd8\xff\xe0",
        "a picture as text": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "a program for a printer": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "gif": encoded(photo(), "GIF"),
        "pdf": b"%PDF-1.4\n%%EOF",
    }


class Hostile:
    """Unpickled, it makes the canary file."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch ${CANARY}",)


class HostileEval:
    """The same through eval."""

    def __reduce__(self) -> Any:
        return eval, (f"open(__import__('os').environ[{CANARY!r}], 'w')",)


def zip_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tar_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def torch_bytes(value: Any, **options: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def rezipped(data: bytes, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """A zip archive with every member changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return zip_of(dict(change(name, archive.read(name)) for name in archive.namelist()))


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"model": value}
    return value


def bomb(size: int) -> bytes:
    """A zip member of ``size`` zeros in a few kilobytes, where a checkpoint's object tree should be."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(size))
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def safetensors_of(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


@cache
def checkpoints() -> dict[str, bytes]:
    """Files in place of a checkpoint of other code."""
    import torch

    good = torch_bytes({"model": {"weight": torch.zeros(40, 40), "bias": torch.zeros(40)}})
    legacy = torch_bytes({"weight": torch.zeros(40)}, _use_new_zipfile_serialization=False)
    code, evaluated = pickle.dumps(Hostile()), pickle.dumps(HostileEval())
    above = "archive/../../../canary"
    tensor = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    found = {f"torch file, {name}": data for name, data in damaged(good).items()}
    found |= {
        f"old torch file, {name}": legacy[: len(legacy) * share // 10] for name, share in (("a third", 3), ("most", 8))
    }
    found |= {
        "a Git LFS pointer": LFS,
        "a pickle that runs a command": code,
        "a pickle that evaluates": evaluated,
        "an old pickle that runs a command": pickle.dumps(Hostile(), protocol=0),
        "a torch file that runs a command": rezipped(good, lambda n, d: (n, code if n.endswith("data.pkl") else d)),
        "a torch file that evaluates": rezipped(good, lambda n, d: (n, evaluated if n.endswith("data.pkl") else d)),
        "TorchScript with code": zip_of({"m/data.pkl": code, "m/constants.pkl": code, "m/code/x.py": b"import os"}),
        "TorchScript without a tree": zip_of({"m/constants.pkl": b"\x80\x02).", "m/version": b"3"}),
        "TorchScript of noise": zip_of({"m/constants.pkl": noise(99), "m/data.pkl": noise(99)}),
        "zip that climbs out": zip_of({above: b"x", "/canary": b"x", "archive/data.pkl": b"\x80\x02}."}),
        "tar that climbs out": tar_of({"../../canary": b"x", "/tmp/canary": b"x", "storages": b"", "tensors": b""}),
        "zip without members": zip_of({}),
        "zip bomb": bomb(60_000_000),
        "a torch file whose tensors are gone": rezipped(good, lambda n, d: (n, b"" if "/data/" in n else d)),
        "a torch file in a folder of another name": rezipped(good, lambda n, d: (f"../{n}", d)),
        "no tensor": torch_bytes({"epoch": 3, "note": "x"}),
        "a list": torch_bytes([torch.zeros(2)]),
        "a number": torch_bytes(7),
        "a tensor without a name": torch_bytes(torch.zeros(3)),
        "names that are numbers": torch_bytes({1: torch.zeros(2), 2: torch.zeros(2)}),
        "a strange model": torch_bytes({"model": {"conv.weight": torch.zeros(3, 3)}}),
        "whole numbers as weights": torch_bytes({"visual.proj": torch.zeros(4, 4, dtype=torch.int64)}),
        "complex weights": torch_bytes({"visual.proj": torch.zeros(4, 4, dtype=torch.complex64)}),
        "sparse weights": torch_bytes({"visual.proj": torch.eye(4).to_sparse()}),
        "dictionaries a thousand deep": torch_bytes(nested(400)),
        "safetensors, cut": safetensors_of(tensor, b"\0" * 3),
        "safetensors of an absurd header": safetensors_of(b"{}", length=2**62),
        "safetensors of a header longer than the file": safetensors_of(b"{", b"", length=2**33),
        "safetensors of noise": safetensors_of(b"{" + noise(50)),
        "safetensors that point outside": safetensors_of({"w": {**tensor["w"], "data_offsets": [0, 2**40]}}, b"\0" * 8),
        "safetensors of an unknown type": safetensors_of({"w": {**tensor["w"], "dtype": "Q9"}}, b"\0" * 8),
        "safetensors without tensors": safetensors_of({}),
        "safetensors of a strange model": safetensors_of(tensor, b"\0" * 8),
        "a file of numpy": _npz(),
        "JSON": b'{"model": {}}',
        "a program": b"#!/bin/sh\ntouch canary\n",
    }  # fmt: skip
    return found


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, weight=np.array([Hostile()], dtype=object))
    return stream.getvalue()


@cache
def mats() -> dict[str, bytes]:
    """Files in place of a MATLAB file with LabelMap (20, 30)."""
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    def saved(value: Any, name: str = "LabelMap", **options: Any) -> bytes:
        stream = io.BytesIO()
        savemat(stream, {name: value}, **options)
        return stream.getvalue()

    good = saved(np.ones((20, 30), np.uint16))
    squeezed = saved(np.ones((20, 30), np.uint16), do_compression=True)
    dims = good.replace(struct.pack("<ii", 20, 30), struct.pack("<ii", 2_000_000_000, 2_000_000_000), 1)
    cells = np.empty((2, 2), dtype=object)
    cells[:] = [[np.zeros(2), "a"], [3, "b"]]
    found = {f"mat, {name}": data for name, data in damaged(good).items()}
    found |= {
        "mat without LabelMap": saved(np.ones((20, 30)), "Other"),
        "mat of three dimensions": saved(np.ones((20, 30, 3))),
        "mat of complex numbers": saved(np.ones((20, 30)) * 1j),
        "mat of cells": saved(cells),
        "mat of words": saved("words"),
        "mat of a structure": saved({"a": 1}),
        "mat of negative numbers": saved(-np.ones((20, 30), np.int16)),
        "mat of no number": saved(np.full((20, 30), np.nan)),
        "mat that is sparse": saved(csc_matrix(np.ones((20, 30)))),
        "mat of another size": saved(np.ones((3, 3), np.uint16)),
        "mat that is empty": saved(np.ones((0, 0), np.uint16)),
        "mat of an absurd length": good[:132] + struct.pack("<I", 0x7FFFFFF0) + good[136:200],
        "mat of absurd dimensions": dims,
        "mat, compressed and cut": squeezed[:-9],
        "mat, compressed and spoilt": squeezed[:150] + noise(20) + squeezed[170:],
        "mat of version 7.3": b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\x02IM" + noise(300),
        "mat of version 4": struct.pack("<5i", 0, 2**30, 2**30, 0, 2) + b"x\0",
    }
    return found


def context_json(**changes: Any) -> dict[str, Any]:
    """The annotation file of PASCAL-Context for one image, with ``changes`` of its annotation or its image."""
    image = {"image_id": 1, "file_name": "a.jpg", "phase": "val", "height": 20, "width": 30}
    note = {"image_id": 1, "category_id": 2, "segmentation": {"size": [20, 30], "counts": [0, 600]}}
    for key, value in changes.items():
        (image if key in image and key != "image_id" else note)[key] = value
    return {"images": [image], "annos_segmentation": [note], "categories": []}


@cache
def jsons() -> dict[str, bytes]:
    """Files in place of PASCAL-Context's trainval_merged.json."""
    good = json.dumps(context_json()).encode()
    documents: dict[str, Any] = {
        "null": None,
        "a list": [],
        "a number": 3,
        "no images": {"annos_segmentation": []},
        "images that are words": {"images": "ab", "annos_segmentation": []},
        "an image without a name": {"images": [{"image_id": 1, "phase": "val"}], "annos_segmentation": []},
        "a name that climbs out": context_json(file_name="../../../canary.jpg"),
        "an absolute name": context_json(file_name="/etc/passwd"),
        "a name with a zero byte": context_json(file_name="a\0b.jpg"),
        "a name that is a number": context_json(file_name=7),
        "an empty name": context_json(file_name=""),
        "an absurd height": context_json(height=10**12),
        "a negative height": context_json(height=-20),
        "a height in words": context_json(height="tall"),
        "no height": context_json(height=None),
        "counts that are no list": context_json(segmentation={"size": [20, 30], "counts": 7}),
        "counts of words": context_json(segmentation={"size": [20, 30], "counts": ["a"]}),
        "counts of damaged text": context_json(segmentation={"size": [20, 30], "counts": "\u00ff~~~\u0001"}),
        "counts of too many pixels": context_json(segmentation={"size": [20, 30], "counts": [0, 10**15]}),
        "negative counts": context_json(segmentation={"size": [20, 30], "counts": [-5, 605]}),
        "fractional counts": context_json(segmentation={"size": [20, 30], "counts": [0.5, 599.5]}),
        "counts of another size": context_json(segmentation={"size": [2, 3], "counts": [0, 6]}),
        "a segmentation that is no mapping": context_json(segmentation=[1, 2]),
        "a category in words": context_json(category_id="cat"),
        "no category": context_json(category_id=None),
    }
    found = {f"json, {name}": data for name, data in damaged(good).items()}
    found |= {f"json, {name}": json.dumps(value).encode() for name, value in documents.items()}
    return found | {
        "json, lists 100,000 deep": b"[" * 100_000,
        "json, of another encoding": json.dumps(context_json()).encode("utf-16"),
        "json, of another language": b"images: []\n",
        "json, no number": b'{"images": [{"image_id": NaN, "file_name": Infinity}], "annos_segmentation": []}',
        "json, a number of 10,000 digits": b'{"images": ' + b"9" * 10_000 + b"}",
    }
