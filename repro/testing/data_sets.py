"""Checks that any data set must pass."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.data_set import OWN
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify


class DataSetTester:
    """Checks that any data set must pass: subclass as ``class TestX(DataSetTester)`` with the id as ``data_set``.

    ``images``: how many :meth:`draw` writes for the evaluated split; override it where the miniature draws none.
    """

    __test__ = False
    data_set: ClassVar[str]
    images: ClassVar[int] = 2

    def __init_subclass__(cls) -> None:
        cls.__test__ = True

    @classmethod
    def draw(cls, root: Path) -> None:
        """Write sources as the owners lay them out below ``root`` (default: those of the miniature)."""
        from repro.mini.panoptic import synth_panoptic
        from repro.mini.synth import MiniSizes, synth, synth_set

        sizes = MiniSizes(train=cls.images, ade=cls.images, context=cls.images, voc=cls.images)
        synth(root, seed=0, sizes=sizes)
        synth_panoptic(root, 0, sizes)
        if get_benchmark(cls.data_set).drawn == OWN:
            synth_set(root, get_benchmark(cls.data_set), 0, sizes)

    @pytest.fixture(scope="class")
    def prepared(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return a data root in which the set was prepared."""
        root = tmp_path_factory.mktemp("prepared")
        self.draw(root)
        prepare(self.data_set, root)
        return root

    def test_the_words_cover_the_classes(self) -> None:
        """Check that each class has a kind and a word, and that only folded sets are asked for more."""
        data_set = get_benchmark(self.data_set)
        names, fold = data_set.class_names(), data_set.background_index
        assert len(set(names)) == len(data_set.class_kinds()) == data_set.num_classes
        assert data_set.ignore_label >= data_set.num_classes
        if fold is None:
            assert len(data_set.prompt_names()) == data_set.num_classes
        else:
            assert fold == data_set.num_classes - 1 < len(data_set.prompt_names())

    def test_the_published_facts_are_there(self) -> None:
        """Check that counts agree and that a user is told what to fetch."""
        data_set = get_benchmark(self.data_set)
        assert data_set.split().num_images == data_set.num_images > 0
        assert data_set.instructions
        assert data_set.source

    def test_every_source_value_gives_a_legal_label(self) -> None:
        """Check the rule on each value that a mask of one channel may hold."""
        data_set = get_benchmark(self.data_set)
        if not data_set.mask_values():
            pytest.skip("its sources are not masks of one channel")
        label = data_set.convert_mask(np.array([data_set.mask_values()], np.uint8))
        assert {int(v) for v in label.ravel()} - {data_set.ignore_label} == set(range(data_set.num_classes))

    def test_drawn_sources_are_prepared_and_verified(self, prepared: Path) -> None:
        """Check that the labels made of the drawn sources are complete, legal and not empty."""
        data_set = get_benchmark(self.data_set)
        pairs = prepared_pairs(data_set, prepared)
        assert len(pairs) == self.images
        report = verify(self.data_set, prepared, expected_count=self.images)
        assert report.ok, str(report)
        values = np.unique(np.concatenate([read_label(pair.label).ravel() for pair in pairs]))
        assert (values < data_set.num_classes).any()
