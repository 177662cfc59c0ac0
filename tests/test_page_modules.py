"""The page's modules that need no browser, told by the stories in test_page_*.mjs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

STORIES = sorted(Path(__file__).parent.glob("test_page_*.mjs"))


@pytest.mark.node
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.stem.removeprefix("test_page_"))
def test_story(story: Path) -> None:
    ran = subprocess.run(["node", "--test", str(story)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
