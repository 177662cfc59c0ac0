"""Reports as HTML: what goes in comes out, and nothing of it can do harm."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from routing.report_page import ReportPage, shown


class Reader(HTMLParser):
    """Collects elements, and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        assert not any(name in {"src", "onload"} for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_page_holds_its_parts_in_their_order_and_fetches_nothing() -> None:
    page = ReportPage("Calls <script>")
    page.heading("Latency")
    page.table(["", "p50"], [["V2V & co", 320.4], ["none", None]])
    page.lines(
        {"replicas": ([0, 1, 2], [1, 2, 2])}, caption="Replicas <b>", across="s", up="count", levels={"most": 3.0}
    )
    reader = Reader()
    reader.feed(html := page.html())
    assert "script" not in reader.elements
    assert [tag for tag in reader.elements if tag in {"h1", "h2", "table", "svg"}] == ["h1", "h2", "table", "svg"]
    assert {"V2V & co", "320", "–", "Replicas <b>"} <= set(reader.text)
    assert "http-equiv" not in html


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "–"), ("as it is", "as it is"), (1234567, "1,234,567"), (0.12345, "0.123"), (1234.5, "1,234")],
)
def test_a_cell_is_as_short_as_it_can_be(cell: str | float | None, text: str) -> None:
    assert shown(cell) == text
