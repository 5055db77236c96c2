"""Dense maps of towers: each place against class names, drawn side by side for images and for pictures of one's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from repro.cli.main import main
from repro.clip.backbone import DenseFeatures
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import UsageError
from repro.measuring.dense import SIMILARITY, dense_data, shown_tower
from repro.reports.figures.draw import FiguresRequest, draw_figures

pytest.importorskip("matplotlib")

# Four places of a 2 x 2 grid, each nearest to the class of its number; their lengths do not matter.
FEATURES = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])).reshape(1, 4, 2, 2)


def fake_tower() -> SimpleNamespace:
    return SimpleNamespace(mean=torch.zeros(1), dense=lambda images, size: DenseFeatures(FEATURES, ()))


def test_pixels_take_the_class_of_their_place() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    data = dense_data(fake_tower(), torch.eye(4), 8, "a", image, None, (1, 3))  # type: ignore[arg-type]
    assert data.prediction.tolist() == [[0] * 4 + [1] * 4] * 4 + [[2] * 4 + [3] * 4] * 4
    similarity = data.maps[SIMILARITY]
    assert similarity.shape == (2, 8, 8)
    assert (similarity[0, 0, -1], similarity[0, -1, -1]) == pytest.approx((1, 0))
    assert (similarity[1, -1, -1], similarity[1, 0, 0]) == pytest.approx((1, 0))


def test_what_the_frame_adds_to_an_image_is_not_shown() -> None:
    """Of an image twice as wide as high the upper half of the frame is image: the lower two places are padding."""
    image = np.zeros((10, 20, 3), np.uint8)
    data = dense_data(fake_tower(), torch.eye(4), 8, "a", image, None, (0,))  # type: ignore[arg-type]
    assert data.prediction.shape == (10, 20)
    assert set(data.prediction.ravel().tolist()) == {0, 1}
    assert (data.prediction[:, :10] == 0).all()
    assert data.maps[SIMILARITY].shape == (1, 4, 8)


def test_similarities_are_cosines_of_the_tower_s_own_dense_map() -> None:
    tower = build_tower(TowerSpec("tiny", None, resolution=48, dense_residual="token"))
    torch.manual_seed(0)
    text, image = (
        F.normalize(torch.randn(5, 32), dim=-1),
        np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8),
    )
    data = dense_data(tower, text, 48, "a", image, None, tuple(range(5)))
    with torch.no_grad():
        dense = tower.dense(torch.from_numpy(image).permute(2, 0, 1)[None].float(), size=(48, 48)).map[0]
        cosines = torch.stack([F.cosine_similarity(dense, row[:, None, None], dim=0) for row in text])
    assert np.array_equal(data.prediction[4::8, 4::8], cosines.argmax(0).numpy())
    smooth = F.interpolate(cosines[None], (48, 48), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(data.maps[SIMILARITY], smooth, atol=1e-5)


@pytest.mark.slow
def test_the_command_draws_towers_of_a_profile_and_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--profile", "smoke", "--runs", str(tmp_path / "runs"), "--device", "cpu", "--out", str(tmp_path / "out")]
    words = ["figures", "--backbone", "base,densevlm", "--benchmark", "PAS-20", "--count", "2", "--rows", "1"]
    assert main([*words, *where]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(written) == 2
    assert all(path.name.startswith("PAS-20_") and path.name.endswith("_dense.png") for path in written)
    aligned = shown_tower("densevlm", "smoke", tmp_path / "runs", None)
    folder = aligned.assets.tower_folder("densevlm")
    photos = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    for path in photos:
        path.parent.mkdir()
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(path)
    own = ["--image", *map(str, photos), "--classes", "dog; unicorn"]
    assert main(["figures", "--backbone", f"densevlm:{folder}", *own, *where]) == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("photo*")) == ["photo_x-2_dense.png", "photo_x_dense.png"]
    from_file = shown_tower(f"densevlm:{folder}", "smoke", tmp_path / "runs", None)
    states = [shown.build("cpu").open_clip_state() for shown in (aligned, from_file)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_unknown_tower_and_a_kind_of_its_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="densevlm"):
        draw_figures(FiguresRequest(tmp_path, profile="smoke", runs=tmp_path, backbone=["densevlmm"]))
    with pytest.raises(UsageError, match="no masks"):
        draw_figures(FiguresRequest(tmp_path, kind="qualitative", profile="smoke", runs=tmp_path, backbone=["base"]))
    with pytest.raises(UsageError, match="no labels"):
        draw_figures(FiguresRequest(tmp_path, profile="smoke", backbone=["base"], image=[tmp_path / "x.jpg"]))
