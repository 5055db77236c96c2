"""Sources of captions for tests, and a stand-in for spaCy: every word of three letters or more is a chunk."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repro.captions import phrases
from repro.captions.phrases import Exclusions


def stand_in(monkeypatch: Any) -> None:
    """Parse without spaCy (in this process only)."""
    monkeypatch.setattr(phrases, "parser_versions", lambda: {"spacy": "0", "model": "words 0"})
    monkeypatch.setattr(phrases, "extract", extract_words)


def extract_words(captions: Sequence[str], exclusions: Exclusions, counts: Counter[str]) -> list[list[str]]:
    found = []
    for caption in captions:
        words = [w.lower() for w in caption.split()]
        counts["chunks"] += len(words)
        counts["without_noun"] += sum(len(w) < 3 for w in words)
        counts["generic"] += sum(len(w) >= 3 and w in exclusions for w in words)
        found.append(list(dict.fromkeys(w for w in words if len(w) >= 3 and w not in exclusions)))
    return found


def write_coco(path: Path, images: Iterable[tuple[Any, Any]], captions: Iterable[tuple[Any, Any]]) -> Path:
    """Captions JSON from (id, file name) and (image id, caption)."""
    value = {
        "info": {"description": "made for a test"},
        "images": [{"id": i, "file_name": n, "height": 4, "width": 4} for i, n in images],
        "annotations": [{"id": k, "image_id": i, "caption": c} for k, (i, c) in enumerate(captions)],
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def jpeg(level: int, height: int = 40, width: int = 60) -> bytes:
    """A grey JPEG."""
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def add_member(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    """A member with these bytes; ``fields`` overwrite what its header says."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def write_shard(path: Path, captions: Iterable[str | bytes | None]) -> Path:
    """A webdataset shard as img2dataset writes it: image, caption and JSON of each sample; None is no caption."""
    with tarfile.open(path, "w") as tar:
        for number, caption in enumerate(captions):
            key = f"{path.stem}{number:04d}"
            add_member(tar, f"{key}.jpg", jpeg(number % 256))
            text = caption.encode() if isinstance(caption, str) else caption
            if text is not None:
                add_member(tar, f"{key}.txt", text)
            add_member(tar, f"{key}.json", json.dumps({"url": "https://example.org", "status": "success"}).encode())
    return path
