"""Models of other libraries named by their files: what is read of them without the libraries, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from talk import Talk, ours
from torch import Tensor, nn

from repro.errors import ResourceError, UsageError, WeightsError
from repro.interop.adapters import DETECTRON2, MMSEG, MmsegModel
from repro.interop.class_names import match, with_synonyms
from repro.interop.closed import ClosedMethod, fill, read_checkpoint
from repro.interop.libraries import INSTALL, need
from repro.methods import get_method, registry


class Blocks(ClosedMethod):
    """Logits that say which channel each is."""

    maps = 4

    def every_class(self, images: Tensor) -> Tensor:
        levels = torch.arange(self.maps, dtype=torch.float32)
        return levels[None, :, None, None].expand(len(images), -1, *images.shape[-2:])


def files(folder: Path, config: str = "tiny.py", text: str = "model = dict(a=1)\n") -> dict[str, Any]:
    (folder / config).write_text(text)
    torch.save({"state_dict": {"a": torch.zeros(2)}}, folder / "tiny.pth")
    return {"config": str(folder / config), "checkpoint": str(folder / "tiny.pth")}


def asked(method: ClosedMethod, classes: Sequence[str]) -> list[float]:
    return method(torch.zeros(1, 3, 2, 2), classes)[0, :, 0, 0].tolist()


def test_adapters_are_found_by_name_and_are_on_no_list() -> None:
    assert get_method("mmseg") == MMSEG
    assert get_method("detectron2") == DETECTRON2
    assert not {"mmseg", "detectron2"} & registry().keys()
    assert not MMSEG.trainable
    assert not MMSEG.tower


def test_names_are_matched_whatever_their_case_and_marks() -> None:
    assert match(["dining table", "TV"], ["tv", "diningtable", "cat"], "") == [1, 0]
    assert match(["couch, sofa", "bed "], ["bed", "sofa"], "") == [1, 0]
    assert match(["bag", "bag", "bag, purse"], ["bag, purse", "bag"], "") == [1, 1, 0]  # one is left for two of a name
    assert with_synonyms(["a", "b"]) == ("a", "b")


def test_a_known_vocabulary_is_matched_by_all_its_words() -> None:
    from repro.datasets.benchmarks import get_benchmark

    full = get_benchmark("A-847")
    assert with_synonyms(full.prompt_names()) == full.class_names()
    assert match(full.class_names(), full.class_names(), "") == list(range(847))
    assert match(full.class_names(), full.prompt_names(), "")[:3] == [0, 1, 2]


@pytest.mark.follows("repro.interop.class_names:match")
def test_what_is_missing_and_what_is_left_is_listed() -> None:
    with pytest.raises(UsageError, match="no class of these names: 'owl'") as refused:
        match(["cat", "owl"], ["cat", "dog"], "name them")
    assert (refused.value.expected, refused.value.mend) == (
        "all 2 classes asked for among the 2 of the model",
        "name them",
    )
    assert "1 of them; not asked for: 'dog'" in str(refused.value.found)


def test_a_closed_model_gives_the_channels_of_the_classes_that_are_asked_for() -> None:
    method = Blocks(MmsegModel(), ["cat", "dog", "sky", "background"])
    assert asked(method, ["sky", "cat"]) == [2.0, 0.0]
    names = ["dog", "cat", "boat", "tree"]
    prompts = method.prompts(names, 2)  # all but two mean background
    assert prompts == ("dog", "cat", "sky", "background")
    assert asked(method, prompts) == [1.0, 0.0, 2.0, 3.0]
    assert method.prompts(["cat"], None) == ("cat",)
    with pytest.raises(ValueError, match="no class"):
        asked(method, [])


@pytest.mark.follows("repro.interop.closed:ClosedMethod.forward", "repro.interop.adapters:ForeignModel.class_names#2")
def test_names_that_are_not_as_many_as_the_maps_are_refused(tmp_path: Path) -> None:
    listed = tmp_path / "names.json"
    listed.write_text("{}")
    options = MmsegModel(names=str(listed))
    with pytest.raises(UsageError, match="no list of classes") as refused:
        options.class_names(None)
    assert "in its order" in str(refused.value.mend)
    listed.write_text(json.dumps(["cat", "dog"]))
    method = Blocks(options, options.class_names(["never", "read"]))
    with pytest.raises(UsageError, match="4 maps and has 2 names") as refused:
        asked(method, ["cat"])
    assert "names=FILE" in str(refused.value.mend)
    listed.write_text(json.dumps(["cat", "dog", "sky", "boat"]))
    assert asked(Blocks(options, options.class_names(None)), ["boat"]) == [3.0]


@pytest.mark.follows("repro.interop.adapters:ForeignModel.class_names#1")
def test_names_are_asked_for_where_no_file_has_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not name its classes") as refused:
        MmsegModel().class_names(None)
    assert "-o names=FILE" in str(refused.value.mend)
    (tmp_path / "names.json").write_text('["cat"]')
    assert MmsegModel(names=str(tmp_path / "names.json")).class_names(None) == ["cat"]


@pytest.mark.follows("repro.interop.adapters:ForeignModel.files", "repro.interop.adapters:ForeignModel.__post_init__")
def test_files_are_named_as_the_mend_says(tmp_path: Path, talk: Talk) -> None:
    mend = talk.refused_by(lambda: MMSEG.make_options().files())
    assert ours(mend)[:2] == ["eval", "mmseg"]
    assert "config=FILE" in mend
    assert "checkpoint=FILE" in mend
    given = files(tmp_path)
    talk.refused_by(lambda: MMSEG.make_options({**given, "checkpoint": str(tmp_path)}))
    assert MMSEG.make_options(given).files() == (tmp_path / "tiny.py", tmp_path / "tiny.pth")


@pytest.mark.follows("repro.interop.adapters:MmsegModel.config_content")
def test_a_configuration_that_mmengine_cannot_read_is_refused(tmp_path: Path) -> None:
    given = files(tmp_path, text="model = dict(\n")
    with pytest.raises(UsageError, match="cannot be read as a configuration"):
        MMSEG.make_options(given)
    assert MMSEG.make_options(files(tmp_path)).content


def test_the_address_holds_what_the_files_say(tmp_path: Path) -> None:
    given = files(tmp_path)
    content = MMSEG.make_options(given).content
    (tmp_path / "tiny.py").write_text("# another comment\nmodel = dict(a=1)\n")
    assert MMSEG.make_options(given).content == content
    (tmp_path / "tiny.py").write_text("model = dict(a=2)\n")
    other = MMSEG.make_options(given).content
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "tiny.pth")
    assert len({content, other, MMSEG.make_options(given).content}) == 3
    (tmp_path / "base.yaml").write_text("MODEL: {A: 1}\n")
    given = files(tmp_path, "tiny.yaml", "_BASE_: 'base.yaml'  # below\n")
    before = DETECTRON2.make_options(given).content
    (tmp_path / "base.yaml").write_text("MODEL: {A: 2}\n")
    assert DETECTRON2.make_options(given).content != before
    (tmp_path / "base.yaml").write_text("_BASE_: tiny.yaml\n")  # a circle ends
    assert DETECTRON2.make_options(given).content
    with pytest.raises(UsageError, match="unknown option of method detectron2 'content'"):
        DETECTRON2.make_options({**given, "content": "0"})


@pytest.mark.follows("repro.interop.adapters:Detectron2Model.check#1", "repro.interop.adapters:Detectron2Model.check#2")
def test_lazy_configurations_and_pickles_are_refused_by_name(tmp_path: Path) -> None:
    given = files(tmp_path, "lazy.py")
    with pytest.raises(UsageError, match="no yacs configuration") as lazy:
        DETECTRON2.make_options(given)
    assert (lazy.value.found, lazy.value.mend) == (
        "a LazyConfig, which builds its model by code of its own",
        "evaluate it with detectron2 and score what it predicts: docs/predictions.md",
    )
    given = files(tmp_path, "tiny.yaml", "MODEL: {}\n")
    (tmp_path / "model.pkl").write_bytes(b"never opened")
    with pytest.raises(WeightsError, match="no pickle is opened") as pickled:
        DETECTRON2.make_options({**given, "checkpoint": str(tmp_path / "model.pkl")})
    assert "torch.save({'model': model.state_dict()}" in str(pickled.value.mend)
    model = nn.Linear(1, 1)
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")  # what the mend writes
    assert DETECTRON2.make_options({**given, "checkpoint": str(tmp_path / "model.pth")}).content
    assert read_checkpoint(tmp_path / "model.pth", "model")[0].keys() == {"weight", "bias"}


class Asks:
    """Something that only running code of the file would make."""


@pytest.mark.follows("repro.interop.closed:read_checkpoint#1", "repro.interop.closed:read_checkpoint#2",
                     "repro.interop.closed:fill")  # fmt: skip
def test_checkpoints_are_tensors_that_fit(tmp_path: Path) -> None:
    model, path, config = nn.BatchNorm1d(3), tmp_path / "a.pth", tmp_path / "a.py"
    torch.save({"state_dict": model.state_dict(), "message_hub": Asks()}, path)
    with pytest.raises(WeightsError, match="more than tensors") as refused:
        read_checkpoint(path, "state_dict")
    assert "a-plain.pth" in str(refused.value.mend)
    assert "import-checkpoint" not in str(refused.value.mend)
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        read_checkpoint(path, "state_dict")
    state = {f"module.{k}": v + 1 for k, v in model.state_dict().items() if k != "num_batches_tracked"}
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, path)
    found, whole = read_checkpoint(path, "state_dict")
    assert whole["meta"] == {"epoch": 1}
    with pytest.raises(WeightsError, match="does not fit the model") as refused:
        fill(nn.BatchNorm1d(4), found, path, config)
    assert "(3,) instead of (4,)" in str(refused.value.found)
    with pytest.raises(WeightsError, match="does not fit"):
        fill(model, {k: v for k, v in found.items() if k != "running_mean"}, path, config)
    fill(model, found, path, config)
    assert model.running_mean is not None
    assert model.running_mean.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.follows("repro.interop.libraries:_absent")
@pytest.mark.parametrize("library", sorted(INSTALL))
def test_a_library_that_is_absent_is_named_with_its_installation(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == library else real(name, *a))
    with pytest.raises(ResourceError, match=f"needs {library}") as refused:
        need(library)
    assert "pip install" in str(refused.value.mend)
    assert "constraints.txt" in str(refused.value.mend)


def test_neither_library_is_imported_by_the_adapters_themselves() -> None:
    import subprocess
    import sys

    code = (
        "import sys, repro, repro.interop.adapters, repro.interop.catalogues; from repro.methods import get_method; "
        "get_method('mmseg').make_options(); "
        "print(sorted({'mmseg', 'detectron2', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
