"""``repro predict``: the ways out of its refusals, followed with the random tiny weights of the smoke profile."""

from __future__ import annotations

import collections
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from talk import Talk, options, ours, way

NOISE = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
CLASSES = ["--classes", "cat,sky"]


@pytest.fixture(autouse=True)
def photo(talk: Talk) -> Path:
    """A photo in a folder of its own below the working folder."""
    path = Path("photos", "photo.png")
    path.parent.mkdir()
    Image.fromarray(NOISE).save(path)
    return path


def words(*more: object, image: object = "photos/photo.png", out: object = "out", method: str = "clip") -> list[object]:
    where = ["--runs", "my runs"] if method != "clip" else []
    return ["predict", "--method", method, "--profile", "smoke", "--device", "cpu", "--image", image, "--out", out,
            *where, *more]  # fmt: skip


def twice(talk: Talk) -> None:
    talk.succeeds(*words(*CLASSES))
    Image.fromarray(NOISE[::-1]).save("photos/photo.png")


def out_is_a_file(talk: Talk) -> None:
    Path("out").touch()


def out_in_a_file(talk: Talk) -> None:
    Path("file").touch()


def named_long(talk: Talk) -> None:
    Path("photos/photo.png").rename("photos/" + "x" * 248 + ".png")


def text_for_an_image(talk: Talk) -> None:
    Path("photos/text.png").write_text("no image")


def names_file(talk: Talk) -> None:
    Path("names.json").write_text("[1]")


def text_names(talk: Talk) -> None:
    Path("names.txt").write_text("cat\ndog\n")


def floats(talk: Talk) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save("photos/float.tif")


Prepare = Callable[[Talk], None]
HANDS: list[object] = [  # place, before the call, the call, what the mend says to call instead
    way("repro.api.outputs:Target.finished", twice, words(*CLASSES), words(*CLASSES, "--overwrite")),
    way("repro.api.outputs:Target.finished", twice, words(*CLASSES), words(*CLASSES, out="other")),
    way("repro.api.outputs:Target.check_names", named_long, words(*CLASSES, image=f"photos/{'x' * 248}.png"),
        words(*CLASSES, image="photos/short.png")),
    way("repro.api.outputs:_collect#1", None, words(*CLASSES, image="foto.png"), words(*CLASSES)),
    way("repro.api.outputs:_collect#2", None, words(*CLASSES, image="photos/*.bmp"),
        words(*CLASSES, image="photos/*.png")),
    way("repro.api.outputs:make_folder", out_is_a_file, words(*CLASSES), words(*CLASSES, out="other")),
    way("repro.evaluation.predict:ClassList.of_names#1", None, words("--classes", " , "),
        words("--classes", "cat,dog,sky")),
    way("repro.evaluation.predict:ClassList.of_names#2", None, words("--classes", "cat,Cat"),
        words("--classes", "cat")),
    way("repro.clip.same_text:refuse_same", None, words("--classes", "cat,\uff43\uff41\uff54"),
        words("--classes", "cat,dog")),
    way("repro.evaluation.predict:read_photo", text_for_an_image, words(*CLASSES, image="photos/text.png"),
        words(*CLASSES)),
    way("repro.datasets.images:unreadable#2", text_for_an_image, words(*CLASSES, image="photos/text.png"),
        words(*CLASSES)),
    way("repro.datasets.images:_check_range", floats, words(*CLASSES, image="photos/float.tif"),
        words(*CLASSES, image="photos/whole.png")),
    way("repro.api.class_lists:class_names#1", text_names, words("--classes", "names.txt"),
        words("--classes", "@names.txt")),
    way("repro.api.class_lists:class_names#2", None, words("--classes", '["cat", "dog"]'),
        words("--classes", "cat,dog,sky")),
    way("repro.api.class_lists:_refused", names_file, words("--classes", "@names.json"),
        words("--classes", "cat,dog,sky")),
    way("repro.cli.failures:explain#2", None, words(*CLASSES, out="a\0b"), words(*CLASSES)),
    way("repro.api.prediction:_weights#2", None, words(*CLASSES, "--checkpoint", "none.pth"), words(*CLASSES)),
    way("repro.hardware:choose_device#1", None, words(*CLASSES, "--device", "gpu"), words(*CLASSES)),
    way("repro.hardware:choose_device#2", None, words(*CLASSES, "--device", "cudax"), words(*CLASSES)),
    way("repro.hardware:choose_device#3", None, words(*CLASSES, "--device", "cuda:77"), words(*CLASSES)),
]  # fmt: skip


@pytest.mark.parametrize(("before", "call", "instead"), HANDS)
def test_the_call_with_the_change_the_mend_asks_for_succeeds(
    talk: Talk, before: Prepare | None, call: list[object], instead: list[object]
) -> None:
    if before:
        before(talk)
    mend = talk.refused(*call)
    changed = [str(w) for w in instead if w not in call]
    assert all(w in mend for w in changed if str(w).startswith("--")), mend
    if "repro " in mend:
        talk.succeeds(*ours(mend))
    if "photos/short.png" in changed:
        Path(str(call[call.index("--image") + 1])).rename("photos/short.png")
    if "photos/whole.png" in changed:
        Image.fromarray(np.full((8, 8), 127, np.uint8)).save("photos/whole.png")
    talk.succeeds(*instead)


@pytest.mark.follows("repro.api.outputs:find_targets#1")
def test_an_out_among_the_images_is_replaced_by_the_folder_named(talk: Talk) -> None:
    mend = talk.refused(*words(*CLASSES, image="photos", out="photos"))
    talk.succeeds(*words(*CLASSES, *options(mend), image="photos"))
    talk.succeeds(*words(*CLASSES, *options(mend), image="photos"))


@pytest.mark.follows("repro.api.outputs:find_targets#2")
def test_an_out_that_would_replace_an_image_is_replaced_by_the_folder_named(talk: Talk) -> None:
    shutil.copyfile("photos/photo.png", "photos/photo_label.png")
    images = ["photos/photo.png", "--image", "photos/photo_label.png"]
    mend = talk.refused(*words(*CLASSES, *images[1:], out="photos"))
    talk.succeeds(*words(*CLASSES, *images[1:], *options(mend)))


@pytest.mark.follows("repro.evaluation.predict:Predictor.write_probabilities")
def test_without_room_for_probabilities_they_are_left_out(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    assert "leave out --save-probs" in talk.refused(*words(*CLASSES, "--save-probs"))
    talk.succeeds(*words(*CLASSES))


@pytest.mark.follows("repro.api.prediction:_weights#1", "repro.api.prediction:_weights#2")
@pytest.mark.slow
def test_a_method_is_trained_by_the_command_and_its_weights_are_those_named(talk: Talk, store: Path) -> None:
    assert store.name == "my runs"  # where words() looks: its data are drawn
    more = ["--tower", "powerful", "-o", "aux_weight=0.2", "--seed", "3"]
    absent = talk.refused(*words(*CLASSES, *more, "--checkpoint", "none.pth", method="catseg"))
    mend = talk.refused(*words(*CLASSES, *more, method="catseg"))
    assert mend == absent
    weights = options(mend.partition(": ")[0])
    assert not Path(weights[1]).exists()
    talk.succeeds(*ours(mend))
    assert Path(weights[1]).is_file()
    again = options(talk.refused(*words(*CLASSES, *more, method="catseg")))
    assert again == weights
    talk.succeeds(*words(*CLASSES, *more, *weights, method="catseg"))
