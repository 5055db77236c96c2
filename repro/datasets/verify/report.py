"""What a verification found: one report a split, as data (JSON) and as text a person reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import get_benchmark
from repro.files import write_json, write_text

SHOWN = 20
NAMES_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the command or step that puts it right.

    ``kind`` is one of: preparation (absent, interrupted or by other rules), count (not the published number), missing
    (a label or an image), orphan (a file that belongs to no listed image), image, label (damaged or impossible files),
    histogram (changed since the preparation, or not the classes of the official set), pixels (not what the rules make
    of the sources). ``files`` names every file concerned; ``message`` only the first few.
    """

    kind: str
    message: str
    mend: str
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """What was found in a split.

    ``images`` is how many images of the split are there with their label, or without one on purpose (``dropped``);
    ``labels`` how many label files. ``prepared_by`` is "repro", "other scripts" (no note beside the labels) or ""
    where nothing is prepared. ``smallest`` and ``largest`` are (height, width) of labels. ``pixels`` counts label
    values over all labels, with text keys for JSON; ``histogram`` is a digest of it (two people with the same labels
    see the same) and ``fingerprint`` one of the content of all images and labels; both are "" where there is nothing
    to take them of. ``compared`` says whether every label was set against its source, pixel by pixel; ``origin`` what
    is known of what the labels were made of: "known", "unknown" (notes of version 0.1.0), "others" (no note).
    """

    benchmark: str
    split: str
    folder: str
    prepared_by: str
    images: int
    expected_images: int
    labels: int
    dropped: int
    label_type: str
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    classes_present: int
    num_classes: int
    ignored_share: float
    pixels: dict[str, int]
    histogram: str
    fingerprint: str
    compared: bool
    origin: str
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a report file."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        count = len(self.problems)
        verdict = "sound" if self.ok else "1 problem" if count == 1 else f"{count} problems"
        lines = [f"{self.benchmark}, split {self.split}: {verdict}"]
        if self.labels:
            dropped = f" and {self.dropped} images without a labelled pixel" if self.dropped else ""
            lines += [
                f"  folder    {self.folder} (made by {self._maker()})",
                f"  images    {self.images:,} of {self.expected_images:,}: {self.labels:,} labels{dropped}",
            ]
        if self.smallest and self.largest:
            low, high = self.smallest, self.largest
            compared = "; every label equals its source" if self.compared and self.ok else ""
            lines += [
                f"  labels    {self.label_type}, {low[0]}x{low[1]} to {high[0]}x{high[1]} (height x width){compared}",
                f"  pixels    {self.ignored_share:.1%} ignored; {self._classes()}",
                f"  digests   label histogram {self.histogram}; images and labels {self.fingerprint or 'none'}",
            ]
        for problem in self.problems[:SHOWN]:
            lines.append(f"  {problem.kind}: {problem.message}")
            lines.append(f"    fix: {problem.mend}")
        if count > SHOWN:
            lines.append(f"  and {count - SHOWN} more problems; --out DIR writes all of them")
        return "\n".join(lines)

    def _maker(self) -> str:
        if self.origin == "others":
            return self.prepared_by + ("" if self.compared else ", not compared")
        return self.prepared_by + (", not known from what" if self.origin == "unknown" else "")

    def _classes(self) -> str:
        text = f"{self.classes_present} of {self.num_classes} classes occur"
        names = get_benchmark(self.benchmark).class_names()
        absent = [name.split(", ")[0].strip() for i, name in enumerate(names) if str(i) not in self.pixels]
        if not absent:
            return text
        rest = len(absent) - NAMES_SHOWN
        return f"{text}, not {', '.join(absent[:NAMES_SHOWN])}" + (f" and {rest} more" if rest > 0 else "")

    def full_text(self) -> str:
        """Return the text with every problem, every file concerned and the pixels of every class."""
        lines = [str(self)]
        for problem in self.problems:
            if problem in self.problems[SHOWN:]:
                lines += [f"  {problem.kind}: {problem.message}", f"    fix: {problem.mend}"]
            if len(problem.files) > 1:
                lines += [f"\n{problem.kind}: {len(problem.files)} files", *(f"  {name}" for name in problem.files)]
        if self.pixels:
            total = sum(self.pixels.values())
            lines += ["", f"{'label':>5}  {'pixels':>14}  {'share':>8}  class"]
            for index, name in enumerate(get_benchmark(self.benchmark).class_names()):
                count = self.pixels.get(str(index), 0)
                lines.append(f"{index:>5}  {count:>14,}  {count / total:>8.3%}  {name.strip()}")
            lines.append(f"{'':>5}  {round(self.ignored_share * total):>14,}  {self.ignored_share:>8.3%}  (ignored)")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``<benchmark>-<split>.json`` and ``.txt`` into ``folder`` and return their paths.

        Raises ResourceError where the folder cannot be written.
        """
        stem = f"{self.benchmark}-{self.split}"
        data, text = folder / f"{stem}.json", folder / f"{stem}.txt"
        write_json(data, self.to_json())
        write_text(text, self.full_text())
        return data, text
