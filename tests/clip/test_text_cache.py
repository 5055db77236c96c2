"""Text features on disk are those of exactly these weights and prompts, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from repro.clip.spec import TowerSpec
from repro.clip.text_cache import TextStore
from repro.clip.tower import ClipTower, build_tower, keep_text

SPEC = TowerSpec(model="tiny", weights=None, resolution=48)
NAMES, TEMPLATE = ("dog", "traffic light", "sky"), "a photo of a {}"


class Encoding(nn.Module):
    """A module with a tower inside that counts how often it encodes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.clip: ClipTower = build_tower(SPEC)
        self.times = 0
        encode = self.clip._encode

        def counting(texts: list[str]) -> torch.Tensor:
            self.times += 1
            return encode(texts)

        self.clip._encode = counting  # type: ignore[method-assign]
        keep_text(self, folder)

    def text(self, names: tuple[str, ...] = NAMES, template: str = TEMPLATE) -> torch.Tensor:
        with torch.no_grad():
            return self.clip.text(names, template)


def test_another_process_reads_what_the_first_encoded_to_the_bit(tmp_path: Path) -> None:
    first, second = Encoding(tmp_path), Encoding(tmp_path)
    features = first.text()
    assert torch.equal(second.text(), features)
    assert (first.times, second.times) == (1, 0)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.text(NAMES[::-1]),
        lambda one: one.text(template="a picture of a {}"),
        lambda one: one.text(NAMES[:2]),
    ],
    ids=["order", "template", "fewer"],
)
def test_other_prompts_are_other_features(tmp_path: Path, ask) -> None:  # type: ignore[no-untyped-def]
    Encoding(tmp_path).text()
    asked, fresh = Encoding(tmp_path), Encoding(tmp_path / "empty")
    assert torch.equal(ask(asked), ask(fresh))
    assert asked.times == 1


def test_other_weights_are_other_features_also_when_changed_in_place(tmp_path: Path) -> None:
    one = Encoding(tmp_path)
    before = one.text()
    with torch.no_grad():
        one.clip.model.positional_embedding[0, 0] += 1e-3
    after = one.text()
    assert one.times == 2
    assert not torch.equal(after, before)
    with torch.no_grad():
        one.clip.model.visual.conv1.weight += 1  # the image tower has no part in it
    one.clip._cache.clear()
    assert torch.equal(one.text(), after)
    assert one.times == 2


def test_a_damaged_file_is_computed_again_and_replaced(tmp_path: Path) -> None:
    features = Encoding(tmp_path).text()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    one, two = Encoding(tmp_path), Encoding(tmp_path)
    assert torch.equal(one.text(), features)
    assert torch.equal(two.text(), features)
    assert (one.times, two.times) == (1, 0)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    one = Encoding(tmp_path / "file" / "text")
    assert torch.equal(one.text(), Encoding(tmp_path / "other").text())


def test_neither_training_nor_autocast_goes_to_disk(tmp_path: Path) -> None:
    one = Encoding(tmp_path)
    one.clip.text(NAMES, TEMPLATE)  # with a graph
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        one.clip.text(NAMES, TEMPLATE)
    assert not list(tmp_path.iterdir())


def test_the_key_is_of_weights_prompts_and_precision() -> None:
    store, weight = TextStore(Path("nowhere")), nn.Parameter(torch.ones(2, 3))
    key = store.key([weight], ["a", "b"])
    assert key == TextStore(Path("elsewhere")).key([nn.Parameter(torch.ones(2, 3))], ["a", "b"])
    others = [
        store.key([weight], ["a b"]),
        store.key([weight], ["a", "b"], "cuda"),
        store.key([nn.Parameter(torch.ones(3, 2))], ["a", "b"]),
        store.key([nn.Parameter(torch.zeros(2, 3))], ["a", "b"]),
    ]
    assert len({key, *others}) == 5
