"""Links between pages of the repository, as they lead on the site."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from bastion_magics.magics import COMMANDS

ROOT = Path(__file__).parents[1]
#: where pages at the root of the repository lie in it, and on the site
AT_ROOT = {
    "index.md": "README.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
SOURCE = "https://github.com/bastionlab/bastionlab/blob/main/"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page with links to files of the repository turned into links to pages of the site, or to the source."""
    here = page.file.src_uri
    base = ROOT / AT_ROOT[here] if here in AT_ROOT else ROOT / "docs" / here
    depth = "../" * here.count("/")
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", "\n".join(f"- `{line}`" for line in COMMANDS.values()))

    def turned(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if "://" in target or target.startswith(("mailto:", "#")):
            return match[0]
        path = (base.parent / target).resolve()
        if not path.is_relative_to(ROOT):
            return match[0]
        found = path.relative_to(ROOT).as_posix()
        found = {v: k for k, v in AT_ROOT.items()}.get(found, found)
        on_site = found.removeprefix("docs/").replace("notebooks/", "tutorials/")
        if files.get_file_from_path(on_site) is not None:
            return f"]({depth}{on_site}{anchor})"
        return f"]({SOURCE}{found}{anchor})"

    return re.sub(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", turned, markdown)
