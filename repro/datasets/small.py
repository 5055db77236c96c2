"""A data set of four classes that is on no disk, for checks of code."""

from __future__ import annotations

import dataclasses

from repro.datasets.benchmarks import BACKGROUND, Benchmark


@dataclasses.dataclass(frozen=True)
class SmallBenchmark(Benchmark):
    """A benchmark of few classes; the last two prompts of one with a fold are its background."""

    words: tuple[str, ...] = ("person", "dog", "traffic light", "sky-other")

    def class_names(self) -> tuple[str, ...]:
        return self.words if self.background_index is None else (*self.words[: self.background_index], BACKGROUND)

    def class_kinds(self) -> tuple[str, ...]:
        return tuple(("thing", "stuff")[i % 2] for i in range(len(self.class_names())))

    def prompt_names(self) -> tuple[str, ...]:
        return tuple(word.split(", ")[0] for word in self.words)


def small_benchmark(folded: bool) -> SmallBenchmark:
    """Return four classes, or two and a background of two prompts."""
    return SmallBenchmark(
        id="trace-fold" if folded else "trace", title="", vocabulary="", prompt_vocabulary="", ignore_label=255,
        background_index=2 if folded else None, num_images=3, source="", folder="",
        label_suffix=".png", splits=(),
    )  # fmt: skip
