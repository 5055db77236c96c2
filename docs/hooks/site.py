"""What the site adds to pages from committed files (mkdocs.yml, `hooks`): it is in no commit, so never out of date."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
TABLES, PAGE = "results/measured/mini", "results-tables.md"


def tables() -> str:
    """Every committed Markdown table of the miniature under a heading of its own, in the order of their names."""
    sheets = sorted((ROOT / TABLES).rglob("*.md"), key=lambda sheet: (len(sheet.parts), sheet.name))
    return "\n".join(re.sub(r"^#", "##", sheet.read_text(encoding="utf-8"), flags=re.M) for sheet in sheets)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables below the words of their page."""
    return f"{markdown}\n{tables()}" if page.file.src_uri == PAGE else markdown
