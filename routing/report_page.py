"""A report as one HTML file: words, tables, and plots as SVG. Nothing in it is fetched from anywhere."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from routing.errors import SettingsError

INCHES = (7.2, 3.0)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1f }
h1, h2 { line-height: 1.2; font-weight: 600 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th { border-bottom-color: #888 } th:first-child, td:first-child { text-align: left }
figure { margin: 1.5rem 0 } svg { max-width: 100%; height: auto } figcaption, .aside { color: #555; font-size: 90% }
@media (prefers-color-scheme: dark) { body { background: #16161a; color: #e6e6ea } svg { background: #fff } }
"""

type Cell = str | int | float | None
type Line = tuple[Sequence[float], Sequence[float]]


class ReportPage:
    """Collects parts in their order; `html` is the whole page. All text is escaped."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Numbers are shown to three digits that count, None as a dash."""
        head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
        body = "".join("<tr>" + "".join(f"<td>{escape(shown(cell))}</td>" for cell in row) + "</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def lines(
        self,
        lines: Mapping[str, Line],
        *,
        caption: str,
        across: str,
        up: str,
        levels: Mapping[str, float] | None = None,
        steps: bool = False,
        logarithmic: bool = False,
    ) -> None:
        """A plot of one or more named lines, and of ``levels`` that do not change.

        Raises:
            SettingsError: the package that draws is not installed.
        """
        figure, axes = _canvas(across, up)
        for name, (xs, ys) in lines.items():
            axes.plot(xs, ys, label=name, linewidth=1.4, drawstyle="steps-post" if steps else "default")
        for number, (name, level) in enumerate((levels or {}).items()):
            axes.axhline(level, label=name, linestyle="--", linewidth=1.0, color=f"C{len(lines) + number}")
        if logarithmic:
            axes.set_yscale("log")
        if len(lines) + len(levels or {}) > 1:
            axes.legend(frameon=False, fontsize=8)
        self._parts.append(f"<figure>{_svg(figure)}<figcaption>{escape(caption)}</figcaption></figure>")

    def html(self) -> str:
        """The page."""
        head = f'<meta charset="utf-8"><title>{escape(self._title)}</title><style>{STYLE}</style>'
        return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(self._parts)}</body></html>\n'


def shown(cell: Cell) -> str:
    """A table's cell as text."""
    match cell:
        case None:
            return "–"
        case str():
            return cell
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def _canvas(across: str, up: str) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure  # without its state for a whole process
    except ImportError:
        raise SettingsError("plots need the package matplotlib: install the extra `reports`") from None
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return "<svg" + written.getvalue().partition("<svg")[2]  # without the declaration, which belongs to files
