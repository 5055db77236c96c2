"""The corpus of bad input: each case is a folder that is set up, a command, and nothing that may come of it but one
clear error."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bad_files as bad
import numpy as np
from PIL import Image

OUTPUTS = ("runs", "out", "results", "checkpoints")
"""Folders a command of the corpus is told to write to, below the folder of the case."""


@dataclasses.dataclass(frozen=True)
class Case:
    """``prepare`` fills the folder of the case and returns the command's words.

    ``writes`` are further folders, below the case's, that the command is told to write to (a data root).
    """

    kind: str
    name: str
    prepare: Callable[[Path], list[str]]
    writes: tuple[str, ...] = ()
    slow: bool = False

    @property
    def id(self) -> str:
        return f"{self.kind}: {self.name}"


def all_cases() -> list[Case]:
    """The whole corpus."""
    parts = (
        _photos,
        _annotations,
        _mats,
        _jsons,
        _layouts,
        _labels,
        _imports,
        _weights,
        _configurations,
        _words,
        _stores,
    )
    cases = [case for part in parts for case in part()]
    names = [case.id for case in cases]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
    return cases


def run_words(folder: Path, *more: str, profile: str = "smoke") -> list[str]:
    own = [
        "--runs",
        str(folder / "runs"),
        "--results",
        str(folder / "results"),
        "--profile",
        profile,
        "--device",
        "cpu",
    ]
    return ["run", "table1", *own, "--methods", "clip", "--benchmarks", "PAS-20", *more]


def predict_words(folder: Path, *more: str) -> list[str]:
    own = ["--runs", str(folder / "runs"), "--out", str(folder / "out"), "--profile", "smoke", "--device", "cpu"]
    return ["predict", "--method", "clip", *own, *more]


# -- predict --


@cache
def photo_files() -> dict[str, bytes]:
    """Bad photographs by name."""
    files = {}
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
        whole = bad.encoded(bad.photo(48, 64), kind)
        files |= {f"{kind.lower()}, {name}": data for name, data in bad.damaged(whole).items()}
    return files | bad.absurd_images()


def _photos() -> Iterator[Case]:
    for name, data in photo_files().items():

        def prepare(folder: Path, data: bytes = data, name: str = name) -> list[str]:
            # Half of the names are not ASCII.
            path = folder / ("im\u00e4ge \u65e5\u672c.png" if len(name) % 2 else "image.jpg")
            path.write_bytes(data)
            return predict_words(folder, "--image", str(path), "--classes", "cat,dog")

        yield Case("predict", name, prepare, slow=True)
    for name, make in _odd_paths().items():

        def odd(folder: Path, make: Callable[[Path], str] = make) -> list[str]:
            return predict_words(folder, "--image", make(folder), "--classes", "cat,dog")

        yield Case("predict", name, odd)
    for name, classes in {
        "no class": "", "only commas": ",,,", "a class twice": "cat,Cat",
        "1,001 classes": ",".join(map(str, range(1001))),
        "an absent list of classes": "@absent.txt", "a list of classes that is a folder": "@.",
        "a list of classes of noise": "@noise.bin", "an endless list": "@/dev/full/x",
    }.items():  # fmt: skip

        def classed(folder: Path, classes: str = classes) -> list[str]:
            (folder / "noise.bin").write_bytes(b"\xff\xfe" + bad.noise(500))
            _photo(folder / "image.png")
            return predict_words(folder, "--image", str(folder / "image.png"), "--classes", classes)

        yield Case("predict", name, classed)


def _odd_paths() -> dict[str, Callable[[Path], str]]:
    def pipe(folder: Path) -> str:
        os.mkfifo(folder / "pipe.png")
        return str(folder / "pipe.png")

    def loop(folder: Path) -> str:
        (folder / "loop.png").symlink_to(folder / "loop.png")
        return str(folder / "loop.png")

    def dangling(folder: Path) -> str:
        (folder / "gone.png").symlink_to(folder / "nowhere.png")
        return str(folder / "gone.png")

    def empty(folder: Path) -> str:
        (folder / "photos").mkdir()
        return str(folder / "photos")

    def pictured(folder: Path) -> str:
        (folder / "folder.png").mkdir()
        return str(folder / "folder.png")

    def bytes_name(folder: Path) -> str:
        return str(folder / os.fsdecode(b"\xff\xfe.png"))

    def bytes_file(folder: Path) -> str:
        (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"noise")
        return bytes_name(folder)

    return {
        "a pipe": pipe,
        "a link to itself": loop,
        "a link to nothing": dangling,
        "an empty folder": empty,
        "a folder called a picture": pictured,
        "an absent file of no Unicode name": bytes_name,
        "a bad file of no Unicode name": bytes_file,
        "an absent file called \u65e5\u672c": lambda folder: str(folder / "\u65e5\u672c\u8a9e.png"),
        "a name of 300 letters": lambda folder: str(folder / ("n" * 300 + ".png")),
        "a path of 9,000 letters": lambda folder: "/".join([str(folder), *(["n" * 99] * 90)]),
        "a name with a zero byte": lambda folder: str(folder / "a\0b.png"),
        "an empty name": lambda _folder: "",
        "a device without end": lambda _folder: "/dev/zero",
        "a pattern that matches nothing": lambda folder: f"{folder}/*.png",
        "a pattern that is none": lambda folder: f"{folder}/[.png",
        "a name with line breaks": lambda folder: str(folder / "a\nb\rc.png"),
    }


def _photo(path: Path, height: int = 20, width: int = 30) -> None:
    Image.fromarray(bad.photo(height, width)).save(path)


# -- prepare --

ADE = "data/ADEChallengeData2016"


def ade_set(folder: Path, annotation: bytes | None = None) -> list[str]:
    """A-150 of one image (20, 30), with ``annotation`` in place of its mask."""
    images, masks = folder / ADE / "images" / "validation", folder / ADE / "annotations" / "validation"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    _photo(images / "ADE_val_00000001.jpg")
    mask = bad.encoded(np.full((20, 30), 3, np.uint8), "PNG") if annotation is None else annotation
    (masks / "ADE_val_00000001.png").write_bytes(mask)
    return ["data", "prepare", "A-150", "--data-root", str(folder / "data")]


@cache
def mask_files() -> dict[str, bytes]:
    """Bad masks of an image (20, 30) by name."""
    mask = np.random.default_rng(3).integers(1, 150, (20, 30), dtype=np.uint8)
    good = bad.encoded(mask, "PNG")
    names = ("png of 60000 x 60000", "png of no pixel", "png with a text bomb", "png of too little data", "gif", "pdf")
    files = {f"mask, {name}": data for name, data in bad.damaged(good).items()}
    files |= {f"mask, {name}": bad.absurd_images()[name] for name in names if name != "gif"}
    return files | {
        "mask of three channels": bad.encoded(bad.photo(), "PNG"),
        "mask of 16 bits": bad.encoded(np.full((20, 30), 3, np.uint16), "PNG"),
        "mask with transparency": bad.encoded(np.full((20, 30, 4), 3, np.uint8), "PNG"),
        "mask of one bit": bad.encoded(np.zeros((20, 30), bool), "PNG"),
        "mask of floating point": bad.encoded(np.ones((20, 30), np.float32), "TIFF"),
        "mask of another size": bad.encoded(mask[:5], "PNG"),
        "mask with an impossible value": bad.encoded(np.full((20, 30), 200, np.uint8), "PNG"),
    }


def _annotations() -> Iterator[Case]:
    for name, data in mask_files().items():
        yield Case("prepare", name, lambda folder, data=data: ade_set(folder, data), ("data",))


def context_set(folder: Path) -> Path:
    """The folder of PASCAL-Context with one image (20, 30) of the validation part, without annotations."""
    root = folder / "data" / "VOCdevkit" / "VOC2010"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "trainval").mkdir()
    _photo(root / "JPEGImages" / "a.jpg")
    (root / "pascalcontext_val.txt").write_text("a\n")
    return root


def _mats() -> Iterator[Case]:
    for name, data in bad.mats().items():

        def prepare(folder: Path, data: bytes = data) -> list[str]:
            root = context_set(folder)
            (root / "trainval" / "a.mat").write_bytes(data)
            return ["data", "prepare", "PC-459", "--data-root", str(folder / "data")]

        yield Case("prepare", name, prepare, ("data",))


def _jsons() -> Iterator[Case]:
    for name, data in bad.jsons().items():

        def prepare(folder: Path, data: bytes = data) -> list[str]:
            root = context_set(folder)
            (root / "trainval_merged.json").write_bytes(data)
            return ["data", "prepare", "PC-59", "--data-root", str(folder / "data")]

        yield Case("prepare", name, prepare, ("data",))


def _layouts() -> Iterator[Case]:
    def case(name: str, change: Callable[[Path], Any], command: str = "prepare") -> Case:
        def prepare(folder: Path) -> list[str]:
            ade_set(folder)
            change(folder / ADE)
            return ["data", command, "A-150", "--data-root", str(folder / "data")]

        return Case(command, name, prepare, ("data",))

    def replaced(place: str) -> Callable[[Path], None]:
        def change(root: Path) -> None:
            shutil.rmtree(root / place, ignore_errors=True)
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_bytes(b"no folder")

        return change

    def noted(text: str) -> Callable[[Path], None]:
        def change(root: Path) -> None:
            (root / "annotations_detectron2").mkdir()
            (root / "annotations_detectron2" / ".validation.prepared.json").write_text(text)

        return change

    for place in ("images", "images/validation", "annotations", "annotations/validation", "annotations_detectron2"):
        yield case(f"a file where {place} should be", replaced(place))
    for name, text in {
        "cut": '{"bench', "a list": "[]", "null": "null", "of wrong types": '{"benchmark": 3, "complete": "yes"}',
        "of unknown keys": '{"dropped": [], "x": 1}', "nested": "[" * 9000,
        "of a wrong count": '{"benchmark": "A-150", "complete": true, "keys": "many", "dropped": 7}',
    }.items():  # fmt: skip
        yield case(f"a note that is {name}", noted(text))
    yield case("an image that is absent", lambda root: next((root / "images" / "validation").iterdir()).unlink())
    yield case("a mask that is absent", lambda root: next((root / "annotations" / "validation").iterdir()).unlink())
    yield case(
        "an image that is no image", lambda root: next((root / "images" / "validation").iterdir()).write_bytes(b"x")
    )
    for name, root in {
        "an absent data root": "nowhere", "a data root that is a file": "file",
        "a data root called \u00fc\u65e5": "\u00fc\u65e5",
        "a data root with a zero byte": "a\0b", "an empty data root": "empty",
    }.items():  # fmt: skip
        for command in ("prepare", "verify"):

            def rooted(folder: Path, root: str = root, command: str = command) -> list[str]:
                (folder / "file").write_bytes(b"")
                (folder / "empty").mkdir()
                return ["data", command, "A-150", "--data-root", str(folder / root)]

            yield Case(command, name, rooted)
    for name, text in {
        "ids that climb out": b"../../../../etc/passwd\n", "ids of noise": bad.noise(300), "no id": b"",
        "an absolute id": b"/etc/passwd\n", "an id with a zero byte": b"a\0b\n", "an id of 9,000 letters": b"n" * 9000,
    }.items():  # fmt: skip

        def listed(folder: Path, text: bytes = text) -> list[str]:
            root = folder / "data" / "VOCdevkit" / "VOC2012"
            for name in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
                (root / name).mkdir(parents=True)
            _photo(root / "JPEGImages" / "a.jpg")
            (root / "ImageSets" / "Segmentation" / "val.txt").write_bytes(text)
            return ["data", "prepare", "PAS-20", "--data-root", str(folder / "data")]

        yield Case("prepare", name, listed, ("data",))


# -- verify and eval of prepared data --

LABELS = f"{ADE}/annotations_detectron2/validation"


def prepared_set(folder: Path) -> Path:
    """A-150 of one image, prepared; the label file."""
    ade_set(folder)
    labels = folder / LABELS
    labels.mkdir(parents=True)
    label = labels / "ADE_val_00000001.png"
    label.write_bytes(bad.encoded(np.full((20, 30), 2, np.uint8), "PNG"))
    note = {"benchmark": "A-150", "complete": True, "keys": 1, "dropped": [], "histogram": {"2": 600}, "rules": 1}
    (labels.parent / ".validation.prepared.json").write_text(json.dumps(note))
    return label


def _labels() -> Iterator[Case]:
    chosen = ("mask, empty", "mask, cut at 50 %", "mask of another size")
    for name, data in mask_files().items():

        def verify(folder: Path, data: bytes = data) -> list[str]:
            prepared_set(folder).write_bytes(data)
            return ["data", "verify", "A-150", "--data-root", str(folder / "data"), "--expected-count", "1"]

        yield Case("verify", name, verify)

        def evaluate(folder: Path, data: bytes = data) -> list[str]:
            prepared_set(folder).write_bytes(data)
            return eval_words(folder, "none")

        if name != "mask of 16 bits":  # the values are legal: only verify minds
            yield Case("eval", name, evaluate, slow=name not in chosen)
    for name, data in {f"image, {n}": d for n, d in bad.damaged(bad.encoded(bad.photo(), "JPEG")).items()}.items():

        def imaged(folder: Path, data: bytes = data) -> list[str]:
            prepared_set(folder)
            (folder / ADE / "images" / "validation" / "ADE_val_00000001.jpg").write_bytes(data)
            return ["data", "verify", "A-150", "--data-root", str(folder / "data"), "--expected-count", "1"]

        yield Case("verify", name, imaged)


def eval_words(folder: Path, weights: str, method: str = "clip", data: bool = True) -> list[str]:
    own = ["--runs", str(folder / "runs"), "--profile", "smoke", "--device", "cpu", "--weights", weights]
    place = ["--data-root", str(folder / "data")] if data else []
    return ["eval", method, *own, "--benchmarks", "A-150", *place]


# -- checkpoints and weights --


def _imports() -> Iterator[Case]:
    for name in bad.checkpoints():

        def prepare(folder: Path, name: str = name) -> list[str]:
            (folder / "file.pth").write_bytes(bad.checkpoints()[name])
            return ["import-checkpoint", str(folder / "file.pth"), "--out", str(folder / "out")]

        yield Case("import-checkpoint", name, prepare)
    for name, make in _odd_paths().items():

        def odd(folder: Path, make: Callable[[Path], str] = make) -> list[str]:
            return ["import-checkpoint", make(folder), "--out", str(folder / "out")]

        yield Case("import-checkpoint", name, odd)


@cache
def own_weights() -> dict[str, Any]:
    """Objects in place of a weights file of this program, by name."""
    import torch

    header = {"method": "clip", "format": 1, "switches": "{}"}
    state = {"x": torch.zeros(2)}
    tower = {"model": "../../../../etc/passwd", "weights": None, "resolution": 48}
    return {
        "of another format": {"header": {**header, "format": 99}, "state_dict": state},
        "of another method": {"header": {**header, "method": "catseg"}, "state_dict": state},
        "of no method": {"header": {}, "state_dict": state},
        "with a header that is no mapping": {"header": 3, "state_dict": state},
        "with tensors that are no mapping": {"header": header, "state_dict": [1]},
        "with numbers for tensors": {"header": header, "state_dict": {"x": 1}},
        "with switches that are no JSON": {"header": {**header, "switches": "{"}, "state_dict": state},
        "with switches that are a number": {"header": {**header, "switches": 3}, "state_dict": state},
        "with a tower that climbs out": {"header": {**header, "tower": tower, "options": {}}, "state_dict": state},
        "with a tower that is none": {"header": {**header, "tower": 3, "options": {}}, "state_dict": state},
        "with a tower of unknown keys": {"header": {**header, "tower": {"a": 1}, "options": {}}, "state_dict": state},
        "with an absurd tower": {
            "header": {**header, "tower": {"model": "tiny", "weights": None, "resolution": -48}, "options": {}},
            "state_dict": state,
        },
        "with unknown options": {
            "header": {**header, "tower": {**tower, "model": "tiny"}, "options": {"a": 1}}, "state_dict": state
        },
        "of other tensors": {"header": header, "state_dict": state},
    }  # fmt: skip


def _weights() -> Iterator[Case]:
    for name, value in own_weights().items():
        for command in ("eval", "predict"):

            def prepare(folder: Path, value: Any = value, command: str = command) -> list[str]:
                path = folder / "weights.pth"
                path.write_bytes(bad.torch_bytes(value))
                if command == "eval":
                    prepared_set(folder)
                    return eval_words(folder, str(path))
                _photo(folder / "image.png")
                return predict_words(
                    folder, "--image", str(folder / "image.png"), "--classes", "a", "--checkpoint", str(path)
                )

            yield Case(command, f"weights {name}", prepare, slow=command == "predict")
    for name in bad.checkpoints():

        def foreign(folder: Path, name: str = name) -> list[str]:
            (folder / "weights.pth").write_bytes(bad.checkpoints()[name])
            prepared_set(folder)
            return eval_words(folder, str(folder / "weights.pth"))

        yield Case("eval", f"weights: {name}", foreign, slow=True)


# -- run --


def _configurations() -> Iterator[Case]:
    base = "_base_ = [{base!r}]\n"
    canary = "open({canary!r}, 'w')"
    texts = {
        "of nothing": "",
        "of noise": "\x01\x02\x03",
        "with an error of syntax": base + "train = dict(",
        "with an unknown name": base + "train = nothing",
        "with a zero byte": base + "a = 1\0",
        "that is JSON": '{"name": "x"}',
        "without data": "name = 'x'\ntitle = 'x'\ncomparable = False\n",
        "with an unknown setting": base + "train = dict(speed=9)\n",
        "with words for numbers": base + "train = dict(iterations='many')\n",
        "with a batch of nothing": base + "train = dict(batch_size=0)\n",
        "with a negative crop": base + "train = dict(crop=-1)\n",
        "with an absurd canvas": base + "protocol = dict(canvas=10**9, window=10**9)\n",
        "with too large a window": base + "protocol = dict(window=4800)\n",
        "with a tower of an unknown kind": base + "towers = dict(base=dict(kind='x'))\n",
        "with a tower of an unknown model": base + "towers = dict(base=dict(spec=dict(model='no-such-model')))\n",
        "with a tower that is a number": base + "towers = dict(base=3)\n",
        "with impossible sizes": base + "data = dict(sizes=dict(train=0))\n",
        "with absurd sides": base + "data = dict(sizes=dict(short_side=(9, 3)))\n",
        "with a seed in words": base + "data = dict(seed='x')\n",
        "with an unknown base": "_base_ = ['./nowhere.py']\n",
        "that is its own base": "_base_ = ['./profile.py']\n",
        "with a base that climbs to a device": "_base_ = ['/dev/zero']\n",
        "that runs code": base + canary + "\n",
        "that imports": base + "import os\nos.system('touch {canary}')\n",
        "that runs code in a value": base + "name = str(" + canary + ")\n",
        "that runs code in a comprehension": base + "a = [" + canary + " for _ in range(1)]\n",
        "that runs code by a method": base + "a = ().__class__.__base__.__subclasses__()\n",
        "that runs code in a function": base + "def f():\n    " + canary + "\nf()\n",
        "that runs code in a string": base + "name = f'{{" + canary + "}}'\n",
        "that computes without end": base + "a = 9 ** 9 ** 9\n",
        "that fills the memory": base + "a = [0] * 10**12\n",
        "nested too deeply": base + "a = " + "[" * 500 + "]" * 500 + "\n",
    }
    for name, text in texts.items():

        def prepare(folder: Path, text: str = text) -> list[str]:
            from repro.paths import CONFIGS

            own = {"base": str(CONFIGS / "profiles" / "smoke.py"), "canary": os.environ[bad.CANARY]}
            filled = text.replace("{base!r}", repr(own["base"])).replace("{canary!r}", repr(own["canary"]))
            filled = filled.replace("{canary}", own["canary"]).replace("{{", "{").replace("}}", "}")
            (folder / "profile.py").write_text(filled)
            return run_words(folder, profile=str(folder / "profile.py"))

        late = name in (
            "with too large a window",
            "with a tower of an unknown model",
            "with impossible sizes",
        )
        yield Case("run", f"a profile {name}", prepare, slow=late)


def _words() -> Iterator[Case]:
    for more in (
        ["--seeds", "x"], ["--iterations", "-1"], ["--iterations", "many"], ["--device", "cuda:x"],
        ["--device", "cuda:99"], ["--device", ""], ["--methods", "nothing"], ["--benchmarks", "nothing"],
        ["--formats", "nothing"],
        ["--measures", "nothing"], ["--profile", "nothing"], ["--profile", "absent.py"], ["--profile", ""],
        ["--profile", "a\0b.py"], ["--data-root", "nowhere"], ["--runs", "\0"], ["--runs", "n" * 300],
        ["--runs", "/dev/null/x"], ["--results", "/dev/null/x"], ["--runs", "/proc/nothing"], ["--methods", ""],
        ["--benchmarks", "PAS-20\ud800"],
    ):  # fmt: skip

        def prepare(folder: Path, more: list[str] = more) -> list[str]:
            return run_words(folder, *more)

        late = more[0] == "--results"  # nothing is wrong before the table is written
        yield Case("run", " ".join(more).encode("unicode_escape").decode()[:60], prepare, slow=late)


# -- run over a damaged store --

TRAINED = ("--methods", "catseg", "--iterations", "2")
_FINISHED: list[Path] = []


def finished_store(folder: Path) -> None:
    """A store with a finished `run` of clip and catseg on PAS-20; made once a session, copied here."""
    if not _FINISHED:
        import tempfile

        from repro.cli.main import main

        origin = Path(tempfile.mkdtemp(prefix="corpus-"))
        write_profile(origin)
        assert main(run_words(origin, *TRAINED, "--methods", "clip,catseg", profile=str(origin / "profile.py"))) == 0
        _FINISHED.append(origin)
    write_profile(folder)
    shutil.copytree(_FINISHED[0] / "runs", folder / "runs", symlinks=True)


def write_profile(folder: Path) -> None:
    from repro.paths import CONFIGS

    text = f"_base_ = [{str(CONFIGS / 'profiles' / 'smoke.py')!r}]\nzero_shot_bar = 0.0\n"
    (folder / "profile.py").write_text(text)


def _stores() -> Iterator[Case]:
    json_texts = {"cut": b'{"a', "a list": b"[]", "null": b"null", "noise": bad.noise(64), "deep": b"[" * 100_000}
    for name, content in json_texts.items():
        for file in ("metrics.json", "cell.json"):
            yield _stored(f"{file}, {name}", f"clip-*/eval/PAS-20/{file}", bad.put(content))
    for name in (
        "a torch file that runs a command",
        "torch file, cut at 50 %",
        "torch file, noise",
        "a list",
        "zip bomb",
    ):
        yield _stored(f"weights.pth, {name}", "catseg-*/weights.pth", name, "catseg", "catseg-*/eval")
        yield _stored(
            f"checkpoint.pth, {name}",
            "catseg-*/checkpoint.pth",
            name,
            "catseg",
            "catseg-*/eval",
            "catseg-*/weights.pth",
        )
    for name, data in bad.damaged(bad.encoded(np.full((20, 30), 2, np.uint8), "PNG")).items():
        labels = "cache/data/*/VOCdevkit/VOC2012/annotations_detectron2/*/"
        yield _stored(f"label, {name}", labels + "[!.]*.png", bad.put(data), "clip", "clip-*/eval")
    yield _stored("a file where the run should be", "clip-*", _as_file, "clip")
    yield _stored("a file where the evaluation should be", "clip-*/eval", _as_file, "clip")
    yield _stored("a folder where metrics.json should be", "clip-*/eval/PAS-20/metrics.json", _as_folder, "clip")


def _as_file(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(b"x")


def _as_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def _stored(name: str, place: str, writer: bad.Writer | str, method: str = "clip", *gone: str) -> Case:
    def prepare(folder: Path) -> list[str]:
        finished_store(folder)
        runs = folder / "runs"
        (target,) = list(runs.glob(place))[:1] or [next(runs.glob(str(Path(place).parent))) / Path(place).name]
        for pattern in gone:
            for path in runs.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if isinstance(writer, str):
            target.write_bytes(bad.checkpoints()[writer])
        else:
            writer(target)
        words = run_words(folder, *TRAINED, profile=str(folder / "profile.py"))
        return [*words, "--methods", method]

    return Case("run", f"store: {name}", prepare, slow=True)
