"""``repro check --weights``: what is packed reaches what it reached; a tenth of a point is noticed."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_mini import METHODS, packed_mini
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.errors import UsageError, WeightsError
from repro.files import read_json, write_json
from repro.methods import build
from repro.paths import PACKAGE, WEIGHTS
from repro.runs.assets import Assets
from repro.runs.gates import first_images, packed
from repro.runs.gates.first_images import series_of, with_first_images
from repro.runs.gates.packing import IMAGES, update_weights
from repro.runs.gates.weights import TOLERANCE, Compared, WeightsReference, WeightsRequest, check_weights

BENCHMARK = "PAS-20"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeightsRequest]:
    """Two methods packed, with a quarter of the images."""
    with pytest.MonkeyPatch.context() as patch:
        for benchmark, images in IMAGES.items():
            patch.setitem(IMAGES, benchmark, images // 4)
        yield packed_mini(tmp_path_factory.mktemp("packed"))


def copied(made: WeightsRequest, folder: Path) -> WeightsRequest:
    """The reference and its packed files in ``folder``, to be changed."""
    shutil.copy(made.file, folder / made.file.name)
    shutil.copytree(made.folder, folder / made.folder.name)
    return dataclasses.replace(made, against=folder / made.file.name)


def with_bias(bias: float) -> Callable[..., Any]:
    """``new_method`` of code that adds ``bias`` to the logit of the first class."""
    original = build.new_method

    def new_method(*arguments: Any) -> Any:
        def changed(_module: nn.Module, _inputs: Any, logits: Tensor) -> Tensor:
            return torch.cat([logits[:, :1] + bias, logits[:, 1:]], 1)

        method = original(*arguments)
        method.register_forward_hook(changed)
        return method

    return new_method


def test_equal_code_gives_equal_counts_however_often_it_is_asked(made: WeightsRequest) -> None:
    for _ in range(3):
        found = check_weights(dataclasses.replace(made, methods=["catseg"]))
        assert [c.same_counts for c in found.cells] == [True] * 6
        assert not found.failed
        assert not found.packages


def test_all_methods_side_by_side_give_what_one_alone_gives(made: WeightsRequest) -> None:
    steps: list[tuple[int, int]] = []
    found = check_weights(made, lambda *step: steps.append(step))
    assert [(c.method, c.expected.benchmark) for c in found.cells] == [(m, b) for m in METHODS for b in IMAGES]
    assert all(c.same_counts for c in found.cells)
    assert {"disa", "logoseg", "synseg"} <= set(found.without)
    assert steps == [(0, 2), (1, 2), (2, 2)]


def test_a_tenth_of_a_point_is_noticed_and_named(
    made: WeightsRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = WeightsReference.load(made)
    work = reference.work("catseg", made.folder, made.runs)
    expected = next(c for c in reference.cells["catseg"] if c.benchmark == BENCHMARK)
    alone = dataclasses.replace(work, images={BENCHMARK: expected.images})

    def moved(bias: float) -> float:
        with monkeypatch.context() as patch:
            patch.setattr(build, "new_method", with_bias(bias))
            return first_images.measure(alone)[0][0].miou - expected.miou

    low, high = 1e-7, 10.0  # of a bias so small nothing comes, of a large one the class covers everything
    assert abs(moved(low)) <= TOLERANCE < 0.15 < abs(moved(high))
    for _ in range(40):
        middle = (low * high) ** 0.5
        points = abs(moved(middle))
        if 0.06 < points < 0.15:
            break
        low, high = (middle, high) if points <= 0.06 else (low, middle)
    else:
        pytest.fail("no bias of about a tenth of a point")
    monkeypatch.setattr(build, "new_method", with_bias(middle))
    capsys.readouterr()
    words = ["--against", str(made.file), "--runs", str(made.runs), "--methods", "catseg", "--json"]
    assert main(["check", "--weights", *words]) == 1
    said = json.loads(capsys.readouterr().out)
    cell = next(c for c in said["cells"] if c["benchmark"] == BENCHMARK)
    assert not said["passed"]
    assert abs(cell["difference"]) == pytest.approx(points)
    assert (cell["method"], cell["verdict"], cell["same_counts"]) == ("catseg", "differs", False)


def test_the_tolerance_is_a_twentieth_of_a_point_either_way(made: WeightsRequest) -> None:
    one = WeightsReference.load(made).cells["clip"][0]
    for off, verdict in ((0.049, "same"), (-0.049, "same"), (0.051, "differs"), (-0.051, "differs")):
        assert Compared("clip", one, dataclasses.replace(one, miou=one.miou + off)).verdict == verdict
    assert Compared("clip", one, dataclasses.replace(one, images=one.images + 1)).verdict == "differs"


def test_the_packed_file_holds_what_training_changed_in_half_precision(made: WeightsRequest) -> None:
    facts = WeightsReference.load(made).methods["catseg"]
    tensors = load_file(made.folder / facts["file"])
    state = torch.load(made.runs / facts["run"] / "weights.pth", weights_only=True)["state_dict"]
    assert 0 < len(tensors) < len(state)
    assert "clip.model.token_embedding.weight" not in tensors
    for name, value in tensors.items():
        assert value.dtype in (torch.float16, state[name].dtype)
        assert torch.equal(value, state[name].to(value.dtype))


def test_numbers_beyond_half_precision_are_kept_whole(tmp_path: Path) -> None:
    trained = {"a": torch.tensor([1.0, 1e6]), "b": torch.tensor([0.1]), "n": torch.tensor([3]), "same": torch.ones(2)}
    built = {**{name: torch.zeros_like(value) for name, value in trained.items()}, "same": torch.ones(2)}
    content = packed.pack(trained, built, {"method": "x"}, tmp_path / "x.safetensors")
    found = packed.read(tmp_path / "x.safetensors", content)
    assert {name: value.dtype for name, value in found.items()} == {
        "a": torch.float32,
        "b": torch.float16,
        "n": torch.int64,
    }
    assert found["a"].tolist() == [1.0, 1e6]


@pytest.mark.follows("repro.runs.gates.packed:fill")
def test_filling_gives_the_method_the_packed_weights_and_leaves_the_rest(tmp_path: Path) -> None:
    method: Any = nn.Linear(2, 2)
    bias = method.bias.clone()
    packed.fill(method, {"weight": torch.full((2, 2), 0.5, dtype=torch.float16)}, tmp_path)
    assert method.weight.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert method.weight.dtype == torch.float32
    assert torch.equal(method.bias, bias)
    for tensors in ({"weight": torch.ones(3, 2)}, {"scale": torch.ones(1)}):
        with pytest.raises(WeightsError, match="does not fit"):
            packed.fill(method, tensors, tmp_path)


def test_an_update_of_one_method_keeps_the_others(made: WeightsRequest, tmp_path: Path) -> None:
    request = copied(made, tmp_path)
    before = WeightsReference.load(request)
    (request.folder / "gone.safetensors").write_bytes(b"of a method that is no more")
    update_weights(dataclasses.replace(request, methods=["clip"]))
    after = WeightsReference.load(request)
    assert after.methods["catseg"] == before.methods["catseg"]
    assert after.cells == before.cells
    assert {path.name for path in request.folder.iterdir()} == {"catseg.safetensors"}


def test_options_are_those_of_the_weights_and_not_of_the_profile(made: WeightsRequest, tmp_path: Path) -> None:
    """A profile that is tuned anew asks for other sizes; the packed weights are still evaluated with theirs."""
    request = copied(made, tmp_path)
    raw = read_json(request.file)
    profile = tmp_path / "tuned.py"
    profile.write_text(f"_base_ = [{raw['profile']!r}]\nmethods = dict(catseg=dict(base=dict(hidden=16)))\n")
    write_json(request.file, {**raw, "profile": str(profile)})
    assert not check_weights(dataclasses.replace(request, methods=["catseg"])).failed


@pytest.mark.follows("repro.runs.gates.packed:read")
@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "absent", "other"])
def test_a_damaged_or_foreign_file_is_one_clear_error(made: WeightsRequest, tmp_path: Path, damage: str) -> None:
    request = copied(made, tmp_path)
    path = request.folder / "catseg.safetensors"
    whole = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "other":
        save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    else:
        path.write_bytes({"cut": whole[:-40], "changed": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b""}[damage])
    with pytest.raises(WeightsError, match=r"catseg\.safetensors is not the file"):
        check_weights(request)


@pytest.mark.follows("repro.runs.gates.first_images:_prepare")
def test_weights_of_another_tower_are_refused(made: WeightsRequest, tmp_path: Path) -> None:
    request = copied(made, tmp_path)
    raw = read_json(request.file)
    raw["methods"]["clip"]["tower_key"]["recipe"] = "another"
    write_json(request.file, raw)
    with pytest.raises(WeightsError, match="trained on another tower"):
        check_weights(dataclasses.replace(request, methods=["clip"]))


def test_the_first_images_are_the_same_however_many_are_drawn(tmp_path: Path) -> None:
    """So a check draws no more than it needs, and finds what the reference was measured on."""
    profile = load_profile("mini")
    few = with_first_images(profile, {"A-847": 1, "A-150": 2, "PAS-20b": 1})
    assert few.data["sizes"] == {**profile.data["sizes"], "train": 1, "ade": 2, "voc": 1}
    roots = []
    for ade in (1, 2):
        sizes = {"train": 1, "ade": ade, "context": 1, "voc": 1}
        smaller = dataclasses.replace(profile, data={**profile.data, "sizes": sizes})
        roots.append(Assets(smaller, tmp_path / str(ade), None).ensure_data())
    drawn = [{str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.png")} for root in roots]
    common = (drawn[0].keys() & drawn[1].keys()) - {"contact_sheet.png"}
    assert len(common) > 5
    assert [name for name in common if drawn[0][name] != drawn[1][name]] == []


def test_every_benchmark_shows_a_series_of_pictures() -> None:
    assert {name: series_of(name) for name in IMAGES} == {
        "A-847": "ade",
        "PC-459": "context",
        "A-150": "ade",
        "PC-59": "context",
        "PAS-20": "voc",
        "PAS-20b": "voc",
    }


@pytest.mark.follows("repro.runs.gates.weights:WeightsReference.load#1", "repro.runs.gates.packing:_trained")
def test_weights_that_are_not_packed_yet_are_made_by_the_commands(
    made: WeightsRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = WeightsReference.load(made).profile
    empty = WeightsRequest(tmp_path / "new.json", ["clip"], tmp_path / "runs", profile)
    with pytest.raises(UsageError, match="there are no packed weights") as absent:
        check_weights(empty)
    with pytest.raises(UsageError, match=r"not trained in .*: catseg") as untrained:
        update_weights(dataclasses.replace(empty, methods=["catseg"]))
    for error, method in ((absent, "clip"), (untrained, "catseg")):
        train, packing = (shlex.split(text)[1:] for text in (error.value.mend or "").split(" && "))
        assert main([*train, "--dry-run"]) == 0
        assert train[:2] == ["run", "table1"]
        assert packing[:3] == ["check", "--weights", "--update"]
        assert method in train
        assert method in packing
    capsys.readouterr()
    _, packing = (shlex.split(text)[1:] for text in (absent.value.mend or "").split(" && "))
    assert main([*packing, "--json"]) == 0  # of CLIP nothing is trained
    assert list(json.loads(capsys.readouterr().out)["cells"]) == ["clip"]
    assert not check_weights(empty).failed


@pytest.mark.follows("repro.runs.gates.weights:WeightsReference.load#2")
def test_a_file_of_something_else_is_to_be_moved_away(tmp_path: Path) -> None:
    for raw in ({"format": 9}, {"format": 1}, [1]):
        (tmp_path / "foreign.json").write_text(json.dumps(raw))
        with pytest.raises(UsageError, match="no values of this gate") as caught:
            check_weights(WeightsRequest(tmp_path / "foreign.json"))
        assert (caught.value.mend or "").startswith("move the file away first: repro run table1 && repro check")


@pytest.mark.follows("repro.runs.gates.weights:check_weights")
def test_a_method_that_is_not_packed_is_said_with_what_packs_it(made: WeightsRequest) -> None:
    with pytest.raises(UsageError, match="unknown packed method 'disa'") as caught:
        check_weights(dataclasses.replace(made, methods=["disa"]))
    assert "--update" in (caught.value.mend or "")
    assert "--methods disa" in (caught.value.mend or "")


def test_what_is_packed_in_the_project_is_named_small_and_in_the_wheel() -> None:
    import tomllib

    with (PACKAGE.parent / "pyproject.toml").open("rb") as stream:
        patterns = tomllib.load(stream)["tool"]["setuptools"]["package-data"]["repro"]
    matching = partial(Path("_results/measured/mini/weights/x.safetensors").match)
    assert any(matching(pattern) for pattern in patterns)
    assert "_results/measured/*/weights.json" in patterns
    if not WEIGHTS.is_file():
        assert not WEIGHTS.with_suffix("").exists()
        pytest.skip("not packed yet: repro run table1 && repro check --weights --update")
    reference = WeightsReference.load(WeightsRequest())
    files = set(WEIGHTS.with_suffix("").iterdir())
    assert {path.name for path in files} == {f["file"] for f in reference.methods.values() if f["file"]}
    assert sum(path.stat().st_size for path in files) < 6e6
