"""Region tables as CSV (full precision), LaTeX and Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from repro.configuration.published import PrintedRow, PublishedRows, find_published
from repro.datasets.panoptic import get_panoptic
from repro.measuring.region_seeds import RegionEntry, entries, gains
from repro.measuring.regions import GROUPS, TOP, RegionStatus
from repro.reports.tables.printed import around, printed_notes, printed_sources, shown_rows
from repro.reports.tables.sheet import Column, Sheet, hardware_remark, number, over_seeds, table_remarks, unfinished
from repro.reports.tables.tex_numbers import Number, macro_name, percent
from repro.runs.addresses.places import adopted_note
from repro.runs.plan import Plan
from repro.runs.status import DONE, FAILED

_GB_OF_MIB = 2**20 / 1e9


def region_sheet(plan: Plan, states: Sequence[RegionStatus], published: PublishedRows = "ours") -> Sheet:
    """Return measured rows, each followed by the published one where there is one; columns by set and top-k.

    With ``all`` as ``published``, the other rows of the paper's table stand around them.
    """
    tops = tuple(TOP) if plan.table.metric == "top5" else ("top1",)
    sets = list(dict.fromkeys(s.cell.source.id for s in states))
    several = any(len(entry.states) > 1 for entry in entries(states))
    columns = [Column("title", "Model"), Column("tower", "CLIP")]
    columns += [Column("seeds", "Seeds", right=True)] if several else []
    columns += [
        Column(f"{name}/{group}_{top}", heading, f"{get_panoptic(name).title} {top.replace('top', 'top-')}", right=True)
        for name in sets
        for top in tops
        for group, heading in GROUPS.items()
    ]
    if plan.table.training_cost:
        columns += [
            Column("train/memory", "memory (GB)", "Training", right=True),
            Column("train/epoch", "min / epoch", "Training", right=True),
        ]
    rows: list[dict[str, str]] = []
    italic: list[int] = []
    groups: dict[str, list[RegionEntry]] = {}
    for entry in entries(states):
        groups.setdefault(entry.first.cell.run.row.id, []).append(entry)
    pairs = around([own[0].first.cell.run.row for own in groups.values()], shown_rows(plan, published))
    for (above, _), own in zip(pairs, [*groups.values(), []], strict=True):
        italic += range(len(rows), len(rows) + len(above))
        rows += [_printed_cells(p, sets) for p in above]
        if not own:
            continue
        run, made = own[0].first.cell.run, own[0].first.seed is not None
        seeds = str(max(len(entry.done) for entry in own)) if made else ""
        rows.append({"title": run.row.title, "tower": run.tower.title, "seeds": seeds} | _measured_cells(own))
        printed = _published_cells([entry.first for entry in own])
        shown = {c.key for c in columns}
        if any(text for key, text in printed.items() if key in shown) and published != "none":
            italic.append(len(rows))
            rows.append({"title": f"{run.row.title} (published)", "tower": "ViT-B/16"} | printed)
    return Sheet.of(plan, columns, rows, region_notes(plan, states, published), italic=italic)


def _printed_cells(printed: PrintedRow, sets: Sequence[str]) -> dict[str, str]:
    """Return what the paper prints of a model that is not measured here."""
    cells = {"title": f"{printed.title} (published)", "tower": printed.vlm}
    for name in sets:
        for group, heading in GROUPS.items():
            for top in TOP:
                value = printed.value(f"{get_panoptic(name).title} {heading}", f"{top}_mean_acc_percent")
                cells[f"{name}/{group}_{top}"] = number(value, 1)
    return cells


def _measured_cells(own: Sequence[RegionEntry]) -> dict[str, str]:
    """Return the accuracies of a row, of several seeds their mean and sample standard deviation, and its training."""
    cells = {}
    for entry in own:
        for key, values in entry.values().items():
            cells[f"{entry.first.cell.source.id}/{key}"] = over_seeds(values)
    memory = own[0].mean(lambda s: s.training.memory_mib if s.training else None)
    epoch = own[0].mean(lambda s: s.training.seconds_per_epoch if s.training else None)
    return {
        **cells,
        "train/memory": number(None if memory is None else memory * _GB_OF_MIB, 2),
        "train/epoch": number(None if epoch is None else epoch / 60, 2),
    }


def _published_cells(states: Sequence[RegionStatus]) -> dict[str, str]:
    """Return what the paper prints of a row, one state a set."""
    cells = {}
    for state in states:
        for key, value in state.published().items():
            cells[f"{state.cell.source.id}/{key}"] = number(value, 1)
    training = states[0].published_training()
    return {**cells, "train/memory": number(training["memory"], 2), "train/epoch": number(training["epoch"], 2)}


def region_notes(plan: Plan, states: Sequence[RegionStatus], published: PublishedRows = "ours") -> list[str]:
    """Return what must stand under the table: profile, rules, what alignment is worth, sources, gaps."""
    lines = [f"Profile {plan.profile.name}: {plan.profile.title}."]
    settings = states[0].cell.settings
    prompts = f"{len(settings.templates)} prompts" if settings.templates else "the 63 prompts of ViLD"
    lines.append(
        f"Mean accuracy over categories (%), images framed to {settings.image_size} pixels, {prompts}; Boxes and "
        "Masks-T over things, Masks-S over stuff, each segment among all categories of its set."
    )
    for state in {s.cell.source.id: s for s in states if s.ranks is not None}.values():
        ranks = state.ranks
        if ranks is not None:
            lines.append(
                f"{state.cell.source.title}: {ranks.images} images, {int(ranks.thing.sum())} thing and "
                f"{int((~ranks.thing).sum())} stuff segments."
            )
    lines += hardware_remark(s.cell.folder / "region.json" for s in states if s.status == DONE)
    if any(len(entry.done) > 1 for entry in entries(states)):
        lines.append("Several seeds of an alignment: mean and sample standard deviation.")
    lines += [
        f"{gain.row} over {gain.base}, {get_panoptic(gain.set).title} {GROUPS[gain.group]} top-1: "
        f"{100 * gain.difference:+.1f} points (95 % over {'seeds and ' * (gain.seeds > 1)}images: "
        f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f})."
        for gain in gains(plan, states)
    ]
    rows = {s.cell.run.row.id: s.cell.run.row for s in states if published != "none"}.values()
    printed = shown_rows(plan, published)
    sources = printed_sources(printed) + [
        found.source
        for row in rows
        if (found := find_published(row.published, "COCO Boxes", "top1_mean_acc_percent")) is not None
    ]
    lines += ["Published: " + "; ".join(dict.fromkeys(sources)) + "."] if sources else []
    lines += printed_notes(printed)
    lines += table_remarks(plan)
    lines += _training_notes(states) if plan.table.training_cost else []
    reasons = dict.fromkeys((s.cell.run.row.title, s.adopted) for s in states if s.status == DONE and s.adopted)
    lines += [adopted_note(*reason) for reason in reasons]
    lines += [
        f"{s.cell.run.row.title} on {s.cell.source.title} failed: {s.error}" for s in states if s.status == FAILED
    ]
    return lines + unfinished([s.status for s in states], "cells are not complete")


def _training_notes(states: Sequence[RegionStatus]) -> list[str]:
    """Say what memory and time of training are those of, and which rows have none recorded."""
    first: dict[str, RegionStatus] = {}
    for state in states:  # of the seeds of a row the first that recorded it: one of them may come with the package
        known = first.setdefault(state.cell.run.row.id, state)
        if known.training is None and state.training is not None:
            first[state.cell.run.row.id] = state
    kinds = {"allocated": "allocated on the GPU", "resident": "resident in the process, on a CPU"}
    rows: dict[str, list[str]] = {}
    for s in first.values():
        if (cost := s.training) is not None:
            memory = kinds.get(cost.memory, cost.memory)
            text = f"memory {memory}, at its peak; an epoch is one pass over {cost.images:,} images; {cost.device}."
            rows.setdefault(text, []).append(s.cell.run.row.title)
    found = [f"Training ({', '.join(titles)}): {text}" for text, titles in rows.items()]
    trained = [s for s in first.values() if s.cell.assets.tower_parts(s.cell.run.row.tower) and s.status == DONE]
    without = ", ".join(s.cell.run.row.title for s in trained if s.training is None)
    gap = f"No memory and time of training were recorded of {without}: the tower was not trained here."
    return [*found, *([gap] if without else [])]


def region_numbers(plan: Plan, states: Sequence[RegionStatus]) -> Iterator[Number]:
    """Yield the numbers of a region table: accuracies in percent by row, set, group and top-k; measured, published.

    Of several seeds their mean, and ``Sd``.
    """
    for entry in entries(states):
        cell, published = entry.first.cell, entry.first.published()
        source = ", ".join(s.cell.run.id for s in entry.states)
        for key, values in entry.values().items():
            name = macro_name(plan.table.name, cell.run.row.id, cell.source.id, key)
            yield name, percent(statistics.fmean(values) if values else None), source
            if len(entry.states) > 1:
                yield f"{name}Sd", percent(statistics.stdev(values) if len(values) > 1 else None), source
            printed = published[key]
            if printed is not None:
                yield f"{name}Published", f"{printed:.1f}", "published"
