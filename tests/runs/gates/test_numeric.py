"""``repro check --numeric``: the code computes what is committed, with any kernels and threads; changes are named."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edits import CHANGING
from number_states import Numbers

from repro.cli.main import main
from repro.errors import UsageError
from repro.methods import registry
from repro.paths import NUMERIC
from repro.runs.gates import numeric, pieces
from repro.runs.gates.numeric import NumericRequest, check_numeric
from repro.sources.trace import TOLERANCE, difference, gaps, joined
from repro.traces.watching import portable

PLAIN = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
    "OPENCV_CPU_DISABLE": "AVX2,FMA3,AVX,SSE4.2,SSE4.1",
    "OPENBLAS_CORETYPE": "Nehalem",
}
"""The kernels of a processor with neither AVX nor FMA, in every library that has others."""


def checked(*words: str, **environment: str) -> dict[str, Any]:
    """What the command says in a process of its own."""
    command = [sys.executable, "-m", "repro", "check", "--numeric", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


# -- the gate ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_code_computes_what_is_committed():
    verdicts = {p["piece"]: p["verdict"] for p in checked()["pieces"]}
    assert {name: verdicts[name] for name in json.loads(NUMERIC.read_text())["pieces"]} == dict.fromkeys(
        (name for name, verdict in verdicts.items() if verdict != "new"), "same"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "methods"), [("2", "synseg"), *(pytest.param(n, "", marks=pytest.mark.long) for n in "14")]
)
def test_other_kernels_and_any_number_of_threads_compute_the_same(threads: str, methods: str):
    only = ("--methods", methods) if methods else ()
    assert checked(*only, **PLAIN, OMP_NUM_THREADS=threads)["first"] is None


ALIGNED = """
import json
from repro.runs.gates.numeric import NumericRequest, check_numeric
only = ("training of tower densevlm", "densevlm objective=features", "densevlm reduction=group")
print(json.dumps({j.name: j.verdict for j in check_numeric(NumericRequest(only=only)).judged}))
"""


@pytest.mark.slow
def test_alignments_are_the_same_with_other_kernels():
    """They once cast to float32 on the way to their losses: 1e-7 of the weights hung by the processor."""
    words = [sys.executable, "-c", ALIGNED]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **PLAIN}, check=True)
    verdicts = json.loads(done.stdout.splitlines()[-1])
    assert len(verdicts) == 3
    assert set(verdicts.values()) == {"same"}


@pytest.mark.slow
def test_sums_of_two_threads_are_the_same(monkeypatch: pytest.MonkeyPatch):
    """Traces are taken with one thread; that their values do not hang by it is shown by taking them with two.

    Which classes a module sees first does: those of the first part that is computed.
    """
    set_threads, before = torch.set_num_threads, torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", lambda count: set_threads(2 if count == 1 else count))
    only = ("tower tiny-eva", "disa training", *(f"{name} evaluation" for name in registry()))
    try:
        judged = check_numeric(NumericRequest(only=only)).judged
    finally:
        set_threads(before)
    assert {j.name for j in judged} == set(only)
    assert [g for j in judged for g in j.gaps if not g.name.startswith("modules")] == []


# -- every changed constant is seen and named -------------------------------------------------------------------------
SEEN = {
    "learning rate of the miniature": ("profile mini", "train / lr"),
    "label to ignore": ("set PC-459", "numbers / ignore_label"),
    "labels of ADE20K": ("set A-150", "converted / 1"),
    "codes of ADE20K": ("set A-847", "converted / 1"),
    "short side of ADE20K": ("set A-847", "converted / 4"),
    "width of the boundary": ("measure boundary", "counts plain / boundary_iou / confusion"),
    "denominator of the bias": ("measure bias", "values plain / foreground_bias"),
    "size of an object": ("concepts", "zebra / size"),
    "two colours": ("miniature", "concepts / car"),
    "share of upright pictures": ("miniature", "VOCdevkit/VOC2010/JPEGImages / 2010_000001.jpg"),
    "second residual of the value path": ("tower tiny", "modules / model.visual.ln_post"),
    "resizing of images for the tower": ("tower tiny", "modules / model.visual.conv1"),
    "temperature of patches": ("training of tower base", "losses / step 1 of 4 / loss"),
    "momentum of Muon": ("training of tower base", "losses / step 2 of 4 / loss"),
    "DenseVLM: mixing": (
        "training of tower densevlm",
        "weights / visual.transformer.resblocks.0.attn.in_proj_bias",
    ),
    "seed of a method": ("synseg training", "first weights / decoder.head.bias"),
    "grey of padding": ("catseg training", "augmented images / 2"),
    "share of flips": ("catseg training", "augmentations drawn / 100"),
    "CAT-Seg: rate of CLIP": ("catseg training", "parameter groups / 2 / lr"),
    "resizing of logits in the loss": ("catseg training", "losses and rates / step 1 / loss_bce"),
    "DiSa: weight of the matching loss": ("disa training", "losses and rates / step 1 / loss_itm"),
    "LoGoSeg: norm of the loss": ("logoseg training", "losses and rates / step 1 / loss_bce"),
    "gradient of the selective scan": ("logoseg training", "losses and rates / step 1 / grad_norm"),
    "betas of AdamW": ("catseg training", "losses and rates / step 3 / loss_bce"),
    "end of the cosine": ("catseg training", "losses and rates / step 3 / lr / clip"),
    "weights of the background": ("catseg aux=mccl", "losses / loss_mccl"),
    "positive feature map of class attention": (
        "catseg evaluation",
        "modules / aggregator.layers.0.classes.attention.norm2",
    ),
    "CAT-Seg: logit of pruned classes": ("catseg evaluation", "logits of many classes"),
    "CLIP: temperature": ("clip evaluation", "logits"),
    "DiSa: squeeze": ("disa evaluation", "modules / segmenter.refinements.0.category"),
    "LoGoSeg: prior": ("logoseg evaluation", "modules / prior"),
    "weight of the whole image": ("clip evaluation", "scores of many classes"),
    "filter of the test image": ("clip evaluation", "counts of trace / confusion"),
    "union of a class": ("clip evaluation", "metrics of trace / miou_gt"),
}
"""Edit (tests/support/edits.py) -> the piece that sees it, and the first tensor that is not as it was."""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Numbers]:
    numbers = Numbers(tmp_path_factory.mktemp("numbers"))
    yield numbers
    numbers.close()


def test_more_than_twenty_edits_are_tried():
    assert len(SEEN) >= 20
    assert SEEN.keys() <= CHANGING.keys()


@pytest.mark.slow
@pytest.mark.parametrize("edit", SEEN)
def test_a_changed_constant_is_seen_and_named(numbers: Numbers, edit: str):
    piece, tensor = SEEN[edit]
    verdict, first = numbers.of(CHANGING[edit], piece)
    assert (verdict, first.split(": ")[0]) == ("differs", f"{piece} / {tensor}")


# -- no ties ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["catseg", "clip", "disa", "logoseg", "synseg"])
def test_the_two_best_classes_of_the_fixed_images_are_never_close(method: str):
    """Of a pixel's two largest scores the second is at least 1e-7 smaller: a hundred times what rounding changes."""
    from repro.evaluation.infer import SlidingWindow

    nearest: list[float] = []
    real = SlidingWindow.labels

    def labels(self: SlidingWindow, method: Any, logits: Any, size: tuple[int, int], last: Any = None) -> Any:
        scores = torch.cat([chunk for _, chunk in self.score_chunks(method, logits, size)])
        best, second = scores.topk(2, dim=0).values
        nearest.append(float(((best - second) / best.abs().clamp(min=1e-6)).min()))
        return real(self, method, logits, size, last)

    with pytest.MonkeyPatch.context() as patch, portable():
        patch.setattr(SlidingWindow, "labels", labels)
        next(p for p in pieces.pieces([method]) if p.name == f"{method} evaluation").take()
    assert len(nearest) >= 4
    assert min(nearest) > 1e-7


# -- comparison -------------------------------------------------------------------------------------------------------
def test_a_difference_is_measured_by_the_size_of_the_tensor_and_whole_numbers_exactly():
    before = {"a / x": [0.001, 5.0, 1.0, 2.0], "a / y": [3.0], "b": [math.nan, 0.5]}
    assert gaps(before, {**before, "a / x": [0.001 + 4e-9, 5.0, 1.0, 2.0]}) == []
    (gap,) = gaps(before, {**before, "a / x": [0.001 + 6e-9, 5.0, 1.0, 2.0]})
    assert (gap.name, gap.expected) == ("a / x", 0.001)
    assert gap.off == pytest.approx(1.2e-9)
    assert [g.name for g in gaps(before, {**before, "a / y": [3.0 + 1e-12]})] == ["a / y"]
    assert [g.name for g in gaps(before, {**before, "b": [0.0, 0.5]})] == ["b"]


def test_differences_come_in_the_order_of_computation_with_what_is_gone_last():
    before = {"first": [0.5], "gone": [0.5], "last": [0.5]}
    assert [g.name for g in gaps(before, {"new": [0.5], "last": [0.6], "first": [0.6]})] == [
        "new", "last", "first", "gone",
    ]  # fmt: skip


def test_a_store_keeps_the_same_trace_by_its_parts():
    trace = {"losses / step 1 / loss": [1.5], "losses / step 1 / lr": [0.1], "logits": [1.0, 2.0]}
    assert joined(trace) == {"losses": [1.5, 0.1], "logits": [1.0, 2.0]}
    assert difference(joined(trace), joined({**trace, "logits": [1.0, 2.1]})) == ["logits (by 0.05 of its size)"]


def test_the_mode_of_the_gate_leaves_everything_as_it_was():
    import cv2

    before = torch.get_default_dtype(), cv2.useOptimized()
    with portable():
        assert (torch.get_default_dtype(), cv2.useOptimized()) == (torch.float64, False)
    assert (torch.get_default_dtype(), cv2.useOptimized()) == before


# -- what the command says --------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Values of one method alone."""
    file = tmp_path_factory.mktemp("numeric") / "numeric.json"
    assert main(["check", "--numeric", "--methods", "clip", "--against", str(file), "--update"]) == 0
    return file


def changed(committed: Path, folder: Path, change: Any) -> Path:
    raw = json.loads(committed.read_text())
    change(raw["pieces"])
    (folder / "numeric.json").write_text(json.dumps(raw))
    return folder / "numeric.json"


def test_what_is_written_passes_and_is_that_of_the_package(committed: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--numeric", "--methods", "clip", "--against", str(committed)]) == 0
    assert capsys.readouterr().out.startswith("97 tensors of 3 pieces are as in ")
    ours, whole = json.loads(committed.read_text())["pieces"], json.loads(NUMERIC.read_text())["pieces"]
    assert ours.keys() == {name for name in whole if name.startswith("clip ")}
    for name, trace in ours.items():
        assert list(trace) == list(whole[name])
        for tensor, values in trace.items():
            assert np.allclose(values, whole[name][tensor], rtol=1e-9, atol=1e-9)


def test_the_first_difference_is_named_with_both_numbers_and_a_way_out(
    committed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def change(found: dict[str, Any]) -> None:
        values = found["clip evaluation"]["logits"]
        values[values.index(max(values, key=abs))] *= 1 + 1e-8
        found["clip evaluation"]["scores"][0] = None

    file = changed(committed, tmp_path, change)
    assert main(["check", "--numeric", "--methods", "clip", "--against", str(file)]) == 1
    said = capsys.readouterr().out
    assert "first difference: clip evaluation / logits: " in said
    assert "(relative 1e-08)" in said
    assert "clip evaluation: 2 of 87 tensors differ, first logits\n" in said
    assert (
        f"fix:      undo the change, or, where it is meant, write it down: repro check --numeric --against {file}"
        in said
    )
    assert main(["check", "--numeric", "--methods", "clip", "--against", str(file), "--update"]) == 0
    assert "clip evaluation: 2 of 87 tensors differ" in capsys.readouterr().out
    assert json.loads(file.read_text()) == json.loads(committed.read_text())


def test_what_is_not_in_the_file_is_said_and_passes_and_what_is_gone_fails(
    committed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def change(found: dict[str, Any]) -> None:
        del found["clip maps"]
        found["clip fancy=True"] = {"logits": [0.5]}

    file = changed(committed, tmp_path, change)
    found = check_numeric(NumericRequest(file, ["clip"]))
    assert {j.name: j.verdict for j in found.judged} == {
        "clip evaluation": "same", "clip maps": "new", "clip prediction": "same", "clip fancy=True": "gone",
    }  # fmt: skip
    assert [j.first for j in found.failed] == ["clip fancy=True: not computed any more"]
    assert main(["check", "--numeric", "--methods", "clip", "--against", str(file)]) == 1
    assert "no committed values: clip maps\n" in capsys.readouterr().out


def test_a_piece_that_fails_is_no_agreement(committed: Path, monkeypatch: pytest.MonkeyPatch):
    def broken() -> Any:
        raise ValueError("no such layer")

    real = list(pieces.pieces(["clip"]))
    monkeypatch.setattr(numeric, "pieces", lambda methods: [dataclasses.replace(p, take=broken) for p in real])
    found = check_numeric(NumericRequest(committed, ["clip"]))
    assert found.failed[0].first == "clip evaluation: ValueError: no such layer"
    with pytest.raises(Exception, match="nothing was written"):
        numeric.update_numeric(NumericRequest(committed, ["clip"]))


def test_a_method_of_another_package_has_no_committed_values(monkeypatch: pytest.MonkeyPatch):
    entry = dataclasses.replace(registry()["clip"], name="theirs")
    monkeypatch.setattr(pieces, "registry", lambda: {"theirs": entry})
    monkeypatch.setattr(pieces, "_data", lambda profile: iter(()))
    monkeypatch.setattr(pieces, "_towers", lambda assets: iter(()))
    only = ("theirs evaluation", "theirs maps")
    assert [j.verdict for j in check_numeric(NumericRequest(only=only)).judged] == ["new", "new"]


@pytest.mark.follows("repro.runs.gates.numeric:_read#1", "repro.runs.gates.numeric:_read#2")
def test_a_file_that_is_absent_or_something_else_is_refused(tmp_path: Path):
    file = tmp_path / "numeric.json"
    request = NumericRequest(file, ["clip"])
    with pytest.raises(UsageError, match="there are no committed values") as absent:
        check_numeric(request)
    file.write_text('{"format": 7}')
    with pytest.raises(UsageError, match="holds no values of this gate") as other:
        check_numeric(request)
    assert other.value.mend == f"move the file away first: {absent.value.mend}"
    file.unlink()
    assert main((absent.value.mend or "").split()[1:]) == 0
    assert not check_numeric(request).failed


@pytest.mark.follows("repro.cli.commands.check:_refuse_others")
def test_a_table_is_no_part_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    assert main(["check", "--numeric", "table1", "--seeds", "1", "--allow-better"]) == 2
    said = capsys.readouterr().err
    assert "found:    table1 --seeds --allow-better\n" in said
    assert "fix:      repro check --numeric\n" in said
    monkeypatch.setattr(numeric, "pieces", lambda methods: [])
    assert main(["check", "--numeric"]) == 1  # nothing of the file is computed


def test_the_committed_file_has_the_tolerance_of_the_store():
    raw = json.loads(NUMERIC.read_text())
    assert raw["tolerance"] == TOLERANCE == 1e-9
    assert sum(len(trace) for trace in raw["pieces"].values()) > 5000
