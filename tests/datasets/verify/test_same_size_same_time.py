"""One file of any set gets another content under its old name, size and time: everything that rests on it is other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.datasets import contents
from repro.datasets.benchmarks import BENCHMARKS, get_benchmark
from repro.datasets.contents import Contents
from repro.datasets.layout import prepared_pairs
from repro.datasets.panoptic import PANOPTIC, get_panoptic
from repro.datasets.prepare.prepare import prepare
from repro.measuring.maps import MapCell
from repro.measuring.regions import RegionCell
from repro.runs.assets import Assets
from repro.runs.plan import Plan, make_plan

Replace = Callable[[Path], None]


@pytest.fixture(autouse=True)
def young_files_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**15))


def other_bytes(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


def in_place(path: Path) -> None:
    path.write_bytes(other_bytes(path))


def renamed_over(path: Path) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(other_bytes(path))
    new.replace(path)


def hard_link(path: Path) -> None:
    """The file is also called something else, and changed under that name."""
    other = path.with_name(f".{path.name}.other")
    other.hardlink_to(path)
    other.write_bytes(other_bytes(path))
    other.unlink()


def link_target(path: Path) -> None:
    """The file is a link, and what it leads to is another file of the same size."""
    for name, data in (("first", path.read_bytes()), ("second", other_bytes(path))):
        path.with_name(f".{path.name}.{name}").write_bytes(data)
    path.unlink()
    path.symlink_to(f".{path.name}.second")


WAYS = [in_place, renamed_over, hard_link, link_target]


def replaced(path: Path, way: Replace) -> None:
    before = path.stat()
    way(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def plan(root: Path, runs: Path, table: str, benchmarks: list[str] | None) -> Plan:
    return make_plan(load_table(table), load_profile("paper"), runs, data_root=root, benchmarks=benchmarks)


def keys(root: Path, runs: Path, name: str) -> dict[str, str]:
    """What everything that rests on a set is called: evaluation, maps, training and aligned tower."""
    made = plan(root, runs, "table1", [name] if name in BENCHMARKS else ["A-150"])
    trained, plain = (next(c for c in made.cells if bool(c.run.train) is wanted) for wanted in (True, False))
    assets = Assets(made.profile, runs, root)
    tower = json.dumps(assets.tower_key(next(t for t in made.profile.towers if assets.tower_parts(t))))
    found = {"training": trained.run.address, "tower": tower, "evaluation": plain.key}
    return found | {"trained evaluation": trained.key, "maps": json.dumps(MapCell(plain).facts)}


def store(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "cache").mkdir(parents=True)
    return tmp_path / "runs"


def rooted(request: pytest.FixtureRequest, name: str) -> Path:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    if name == "A-847":  # the sample has images of the training split alone
        images = root / "ADE20K_2021_17_01" / "images" / "ADE"
        (images / "training").rename(images / "validation")
    prepare(name, root)
    return root


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_replace_a_file_shows_in_its_digest(tmp_path: Path, way: Replace) -> None:
    path, index = tmp_path / "set" / "a.tif", store(tmp_path) / "cache" / "contents" / "index.json"
    path.parent.mkdir()
    path.write_bytes(bytes(range(200)))
    first = Contents(index).digests([path])
    replaced(path, way)
    assert Contents(index).digests([path]) != first


@pytest.mark.parametrize(("what", "way"), [("label", in_place), ("image", renamed_over)])
@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_figures_and_maps_of_a_benchmark(
    request: pytest.FixtureRequest, name: str, what: str, way: Replace, tmp_path: Path
) -> None:
    root, runs = rooted(request, name), store(tmp_path)
    first = keys(root, runs, name)
    assert keys(root, runs, name) == first
    replaced(getattr(prepared_pairs(get_benchmark(name), root)[-1], what), way)
    second = keys(root, runs, name)
    assert {k for k in first if first[k] != second[k]} == {"evaluation", "trained evaluation", "maps"}


@pytest.mark.parametrize(("what", "way"), [("label", link_target), ("image", hard_link)])
def test_trainings_and_towers_of_the_training_set(mini_real: Path, what: str, way: Replace, tmp_path: Path) -> None:
    for name in ("coco-stuff", "A-150"):
        prepare(name, mini_real)
    runs = store(tmp_path)
    first = keys(mini_real, runs, "coco-stuff")
    replaced(getattr(prepared_pairs(get_benchmark("coco-stuff"), mini_real)[-1], what), way)
    second = keys(mini_real, runs, "coco-stuff")
    assert {k for k in first if first[k] != second[k]} >= {"training", "tower"}
    assert first["evaluation"] == second["evaluation"]  # of what is not trained


@pytest.mark.parametrize("what", ["annotations", "mask", "image"])
@pytest.mark.parametrize("name", list(PANOPTIC))
def test_region_tables_of_a_panoptic_set(photographs: Path, name: str, what: str, tmp_path: Path) -> None:
    source, root, runs = get_panoptic(name), tmp_path / "root", store(tmp_path)
    json_file, masks, images = source.paths(root)
    sample = photographs / "coco_panoptic_sample"
    for folder, target in (("panoptic_examples", masks), ("input_images", images)):
        shutil.copytree(sample / folder, target, copy_function=shutil.copyfile)
        target.chmod(0o755)
    shutil.copyfile(sample / "panoptic_examples.json", json_file)

    def facts() -> str:
        made = plan(root, runs, "densevlm-table3", [])
        return json.dumps(RegionCell(made.runs[0], source).facts, sort_keys=True)

    first = facts()
    assert '"absent"' not in json.loads(first)["data"]
    assert facts() == first
    if what == "annotations":
        text = json_file.read_text()
        replaced(json_file, lambda path: path.write_text(text.replace('"iscrowd": 0', '"iscrowd": 1', 1)) and None)
    else:
        replaced(max({"mask": masks, "image": images}[what].iterdir()), in_place)
    assert facts() != first
