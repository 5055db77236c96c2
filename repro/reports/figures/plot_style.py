"""How plots look: colours the colour-blind can tell apart (Okabe and Ito, 2008), markers beside them, vector files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from repro.errors import ResourceError
from repro.files import write_atomic
from repro.mends import install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from repro.reports.tables.evidence import Evidence

FORMATS = ("pdf", "svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "repro",  # the same file from the same numbers
}


class Look(NamedTuple):
    """Colour and marker of a row, the same in every plot of a table."""

    colour: str
    marker: str


def need_matplotlib() -> None:
    """Raise ResourceError where matplotlib, which is optional, is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ResourceError("figures need matplotlib", mend=install()) from error


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Save the figure as PDF and SVG, without dates, so that equal numbers give equal files."""
    from matplotlib import rc_context

    paths = {form: folder / f"{name}.{form}" for form in FORMATS}
    with rc_context(STYLE):  # text as text, ids that depend on nothing else: decided when it is written
        for form, path in paths.items():
            metadata = {"CreationDate": None} if form == "pdf" else {"Date": None}
            write_atomic(path, partial(figure.savefig, format=form, metadata=metadata, bbox_inches="tight"))
    return list(paths.values())


def looks(evidence: Evidence) -> dict[str, Look]:
    """Return colour and marker by row: rows of one title (other towers) share the colour and differ in the marker."""
    titles = list(dict.fromkeys(r.title for r in evidence.rows))
    towers = list(dict.fromkeys(r.tower for r in evidence.rows))
    return {
        r.id: Look(
            COLOURS[titles.index(r.title) % len(COLOURS)],
            MARKERS[(titles.index(r.title) + towers.index(r.tower)) % len(MARKERS)],
        )
        for r in evidence.rows
    }


def names(evidence: Evidence) -> dict[str, str]:
    """Return by row its title, with the tower only where titles repeat."""
    titles = [r.title for r in evidence.rows]
    return {r.id: r.label if titles.count(r.title) > 1 else r.title for r in evidence.rows}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Make a figure of its own, not pyplot's (no display, nothing kept), inches, with axes (rows, columns)."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def bare(panel: Axes) -> None:
    """Leave of a panel only what is drawn in it: no ticks, no frame."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def draw_legend(
    figure: Figure, rows: Sequence[tuple[str, str]], style: dict[str, Look], *, lines: bool = False, note: str = ""
) -> None:
    """Draw rows with their colours and markers (or only ``lines``) below the panels, and a ``note`` behind them."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style[r].colour, marker="" if lines else style[r].marker, linewidth=1.4, label=label)
        for r, label in rows
    ]
    if note:
        handles.append(Line2D([], [], color="none", label=note))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), fontsize=7)
