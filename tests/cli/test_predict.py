"""``repro predict`` as a user calls it, with the random tiny weights of the smoke profile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.api.prediction import _notes
from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import Row
from repro.datasets.images import read_label
from repro.methods import get_method, registry
from repro.requests import RunRequest
from repro.runs.assets import Assets
from repro.runs.plan import Run

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(NOISE).save(path)
    return path


def words(tmp_path: Path, image: Path | str, *more: str, method: str = "clip") -> list[str]:
    place = ["--image", str(image), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    return ["predict", "--method", method, "--profile", "smoke", "--device", "cpu", *place, *more]


def outputs(tmp_path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((tmp_path / "out").iterdir())}


def smoke_run(method: str, tmp_path: Path) -> Run:
    profile = load_profile("smoke")
    entry = get_method(method)
    row = Row(f"{method}-base", entry.title, method, "base", {})
    return Run(row, profile, profile.towers["base"], entry, 0, Assets(profile, tmp_path / "runs", None))


def save_smoke_weights(method: str, path: Path, tmp_path: Path) -> None:
    from repro.clip.tower import build_tower
    from repro.methods.weights import save_weights

    run = smoke_run(method, tmp_path)
    save_weights(run.entry.create(build_tower(run.tower.spec), run.options), path, method)


def test_one_image_gives_labels_overlay_and_a_record(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, photo, "--classes", "cat, dog,sky", "--save-probs", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    names = ["photo.json", "photo_label.png", "photo_overlay.png", "photo_probabilities.npz"]
    assert list(outputs(tmp_path)) == names
    labels = read_label(tmp_path / "out" / "photo_label.png")
    assert labels.shape == (40, 60)
    record = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert [c["name"] for c in record["classes"]] == ["cat", "dog", "sky"]
    assert [c["index"] for c in record["classes"]] == [0, 1, 2]
    assert [c["pixels"] for c in record["classes"]] == np.bincount(labels.ravel(), minlength=3).tolist()
    assert sum(c["share"] for c in record["classes"]) == pytest.approx(1, abs=1e-5)
    assert record["method"] == "clip"
    assert record["protocol"]["window"] == 48
    assert record["weights"] == "zero-shot"
    scores = np.load(tmp_path / "out" / "photo_probabilities.npz")["probabilities"]
    np.testing.assert_array_equal(scores.argmax(0), labels)
    (image,) = document["images"]
    assert image["status"] == "written"
    assert Path(image["label"]).is_file()
    assert document["notes"]  # the tower of this profile is random, and that is said


@pytest.mark.parametrize("method", sorted(registry()))
def test_every_method_predicts(method: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--checkpoint", "none"] if get_method(method).trainable else []
    assert main(words(tmp_path, photo, "--classes", "cat,dog,sky", *more, method=method)) == 0
    assert read_label(tmp_path / "out" / "photo_label.png").max() < 3
    assert "means nothing" in capsys.readouterr().out


def test_a_checkpoint_is_named_by_its_digest_and_gives_what_the_same_weights_give(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from repro.evaluation.predict import ClassList, Predictor
    from repro.hashing import file_digest

    weights = tmp_path / "weights.pth"
    save_smoke_weights("catseg", weights, tmp_path)
    more = ["--checkpoint", str(weights), "--benchmark-vocab", "pas-20b", "--json"]
    assert main(words(tmp_path, photo, *more, method="catseg")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["weights"] == file_digest(weights, 12)
    assert document["benchmark_vocab"] == "PAS-20b"

    from repro.clip.tower import build_tower
    from repro.methods.weights import load_weights

    run = smoke_run("catseg", tmp_path)
    method = run.entry.create(build_tower(run.tower.spec), run.options).eval()
    load_weights(method, weights, "catseg")
    from repro.datasets.benchmarks import get_benchmark

    expected = Predictor(method, ClassList.of_benchmark(get_benchmark("PAS-20b")), run.profile.protocol)(NOISE)
    np.testing.assert_array_equal(read_label(tmp_path / "out" / "photo_label.png"), expected)
    record = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert [c["name"] for c in record["classes"]][-1] == "background"
    assert len(record["classes"]) == 21
    assert len(record["prompts"]) == 59


def test_finished_images_are_skipped_and_others_never_replaced_unasked(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, photo, "--classes", "cat,dog")) == 0
    before = outputs(tmp_path)
    capsys.readouterr()
    assert main(words(tmp_path, photo, "--classes", "cat,dog", "--json")) == 0
    out = capsys.readouterr()
    assert "skipped" in out.err
    assert json.loads(out.out)["images"][0]["status"] == "finished"
    assert outputs(tmp_path) == before

    assert main(words(tmp_path, photo, "--classes", "cat,cow")) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert outputs(tmp_path) == before
    assert main(words(tmp_path, photo, "--classes", "cat,cow", "--overwrite")) == 0
    assert outputs(tmp_path) != before


def test_a_file_of_somebody_else_is_in_the_way(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.json").write_text('{"mine": true}')
    assert main(words(tmp_path, photo, "--classes", "cat,dog")) == 2
    assert "photo.json exists" in capsys.readouterr().err
    assert outputs(tmp_path) == {"photo.json": b'{"mine": true}'}


def test_an_interrupted_image_is_made_again_and_asked_for_scores_are_added(photo: Path, tmp_path: Path) -> None:
    assert main(words(tmp_path, photo, "--classes", "cat,dog")) == 0
    whole = outputs(tmp_path)
    (tmp_path / "out" / "photo_overlay.png").unlink()
    assert main(words(tmp_path, photo, "--classes", "cat,dog")) == 0
    assert outputs(tmp_path)["photo_overlay.png"] == whole["photo_overlay.png"]
    assert main(words(tmp_path, photo, "--classes", "cat,dog", "--save-probs")) == 0
    assert "photo_probabilities.npz" in outputs(tmp_path)


def test_folders_and_patterns_give_each_image_once_and_equal_stems_do_not_collide(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(NOISE[::-1]).save(photo.with_suffix(".bmp"))
    (photo.parent / "notes.txt").write_text("no image")
    more = ["--image", str(photo.parent / "*.png"), "--classes", "cat,dog", "--json"]
    assert main(words(tmp_path, photo.parent, *more)) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert len(images) == 2
    assert len({i["label"] for i in images}) == 2
    labels = {Path(i["image"]).suffix: read_label(Path(i["label"])) for i in images}
    assert not np.array_equal(labels[".png"], labels[".bmp"])


def test_names_may_come_from_a_file_where_they_hold_commas(photo: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\ufeffcat, kitten\n\nгора\n猫\n", encoding="utf-8")
    assert main(words(tmp_path, photo, "--classes", f"@{names}")) == 0
    record = json.loads((tmp_path / "out" / "photo.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in record["classes"]] == ["cat, kitten", "гора", "猫"]


def test_one_bad_image_among_several_fails_alone(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = photo.with_name("bad.jpg")
    bad.write_bytes(b"no image")
    assert main(words(tmp_path, bad, "--image", str(photo), "--classes", "cat,dog", "--json")) == 1
    out = capsys.readouterr()
    assert [i["status"] for i in json.loads(out.out)["images"]] == ["failed", "written"]
    assert "bad.jpg" in out.err
    assert sorted(outputs(tmp_path)) == ["photo.json", "photo_label.png", "photo_overlay.png"]


def test_a_truncated_photograph_is_an_error_and_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert main(words(tmp_path, path, "--classes", "cat,dog")) == 3
    assert "cut.jpg" in capsys.readouterr().err
    assert outputs(tmp_path) == {}


@pytest.mark.parametrize(
    ("more", "code", "hint"),
    [
        (["--classes", ","], 2, "no class"),
        (["--classes", "cat,Cat"], 2, "named twice"),
        (["--classes", "@nowhere.txt"], 2, "nowhere.txt"),
        (["--benchmark-vocab", "A-151"], 2, "did you mean A-150"),
        (["--classes", "cat", "--method", "catsge"], 2, "did you mean catseg"),
        (["--classes", "cat", "--method", "catseg"], 4, "train first, then name its weights with --checkpoint"),
        (["--classes", "cat", "--method", "catseg", "--checkpoint", "nowhere.pth"], 4, "nowhere.pth"),
        (["--classes", "cat", "--image", "nowhere.png"], 3, "nowhere.png is absent"),
        (["--classes", "cat", "--image", "*.webp"], 3, "no image in *.webp"),
        (["--classes", "cat", "--device", "cuda:99"], 5, "cuda:99"),
        (["--classes", "cat", "--tower", "bsae"], 2, "did you mean base"),
    ],
)
def test_misuse_is_one_clear_error_before_anything_is_written(
    more: list[str],
    code: int,
    hint: str,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words(tmp_path, photo), *more]) == code
    error = capsys.readouterr().err
    assert error.startswith("repro: error: ")
    assert hint in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [[], ["--classes", "cat", "--benchmark-vocab", "A-150"]])
def test_exactly_one_of_classes_and_vocabulary_is_needed(more: list[str], photo: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words(tmp_path, photo, *more))
    assert caught.value.code == 2


def test_weights_of_another_method_and_of_other_options_are_refused(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.pth"
    save_smoke_weights("catseg", weights, tmp_path)
    more = ["--classes", "cat,dog", "--checkpoint", str(weights)]
    assert main(words(tmp_path, photo, *more, method="clip")) == 4
    assert "another method" in capsys.readouterr().err
    assert main(words(tmp_path, photo, *more, "-o", "hidden=32", method="catseg")) == 4
    assert "does not fit" in capsys.readouterr().err
    assert outputs(tmp_path) == {}


@pytest.mark.parametrize("kind", ["below a file", "read-only"])
def test_a_folder_that_cannot_be_written_is_named(
    kind: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photo / "out"
    if kind == "read-only":
        if os.geteuid() == 0:
            pytest.skip("root may write anywhere")
        out = tmp_path / "locked"
        out.mkdir(mode=0o500)
    assert main([*words(tmp_path, photo, "--classes", "cat"), "--out", str(out)]) == 5
    error = capsys.readouterr().err
    assert str(out) in error
    assert "--out" in error


def test_outputs_never_replace_or_become_the_images(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = photo.with_name("photo_label.png")
    Image.fromarray(NOISE).save(twin)
    here = ["--out", str(photo.parent), "--classes", "cat", "--overwrite"]
    assert main([*words(tmp_path, photo, "--image", str(twin)), *here]) == 2
    assert "would replace an image" in capsys.readouterr().err
    assert main([*words(tmp_path, photo.parent), *here]) == 2
    assert "--out is among the images" in capsys.readouterr().err
    assert sorted(p.name for p in photo.parent.iterdir()) == ["photo.png", "photo_label.png"]


def test_photographs_of_a_folder_that_may_only_be_read(photographs: Path, tmp_path: Path) -> None:
    folder = photographs / "coco-stuff" / "images" / "val2017"
    image = sorted(folder.glob("*.jpg"))[0]
    more = ["--checkpoint", "none", "--benchmark-vocab", "A-150"]
    assert main(words(tmp_path, image, *more, method="catseg")) == 0
    assert read_label(tmp_path / "out" / f"{image.stem}_label.png").shape == np.asarray(Image.open(image)).shape[:2]


@pytest.mark.parametrize(
    ("profile", "tower", "weights", "said"),
    [
        ("mini", "base", "own", "knows drawn scenes only"),
        ("mini", "densevlm", "own", "knows drawn scenes only"),
        ("mini", "base", "untrained", "weights are not trained"),
        ("smoke", "base", "own", "tower is random"),
        ("paper", "base", "own", None),
    ],
)
def test_a_prediction_says_what_its_tower_does_not_know(
    tmp_path: Path, profile: str, tower: str, weights: str, said: str | None
) -> None:
    run = RunRequest(method="clip", profile=profile, tower=tower, runs=tmp_path).run()
    notes = _notes(run, weights)
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]
