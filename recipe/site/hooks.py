# SPDX-License-Identifier: Apache-2.0
"""What mkdocs cannot do by itself: pages that are made, and links that lead out of docs/.

The first page is README.md, so that nothing is said twice; the contributing guide and the changelog are the files at
the top; the configuration reference is made from the schema, and the API from docstrings, one page a room. A link of a
page to a file that the site does not hold becomes plain text.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from aflow_env.config import config_directory
from recipe.site.reference import reference

log = logging.getLogger("mkdocs.hooks.aflow")
ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "recipe/aflow/README.md": "recipes.md",
}
"""File of the repository -> page of the site, for pages that do not lie in docs/."""
_LINK = re.compile(r"\[(?P<text>[^\]\[]*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "configuration.md", content=reference(config_directory())))
    for room, text in api().items():
        files.append(File.generated(config, f"api/{room}.md", content=text))
    return files


def api() -> dict[str, str]:
    """Room -> the page of its modules, for mkdocstrings to fill; single modules share the page `aflow_env`."""
    package = ROOT / "aflow_env"
    rooms = {folder.name: folder for folder in sorted(package.iterdir()) if (folder / "__init__.py").is_file()}
    pages = {room: _page(f"aflow_env.{room}", folder) for room, folder in rooms.items()}
    return {**pages, "aflow_env": _page("aflow_env", package)}


def _page(name: str, folder: Path) -> str:
    files = folder.glob("*.py") if name == "aflow_env" else folder.rglob("*.py")
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts) for path in sorted(files) if path.stem[:2] != "__"
    ]
    return "\n\n".join([f"# {name}", *(f"::: {name}.{module}" for module in modules), ""])


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Links by their place in the repository, as GitHub follows them, become links by their place in the site."""
    here = page.file.src_uri
    origin = next((source for source, made in ELSEWHERE.items() if made == here), f"docs/{here}")
    return _LINK.sub(lambda link: _moved(link, posixpath.dirname(origin), posixpath.dirname(here)), markdown)


def on_page_content(content: str, page: Any, **_: object) -> str:
    """Show a fence that the parser does not accept as text, without a warning."""
    if "```" in content:
        log.warning("%s: a fenced block is not one: is its title in quotes?", page.file.src_uri)
    return content


def _moved(link: re.Match[str], folder: str, page_folder: str) -> str:
    path, anchor = re.match(r"([^#]*)(.*)", link["target"]).groups()  # type: ignore[union-attr]
    if not path or "://" in path or path.startswith("mailto:"):
        return link[0]
    file = posixpath.normpath(posixpath.join(folder, path))
    if file in ELSEWHERE:
        return f"[{link['text']}]({posixpath.relpath(ELSEWHERE[file], page_folder or '.')}{anchor})"
    if file.startswith("docs/"):
        return f"[{link['text']}]({posixpath.relpath(file[len('docs/') :], page_folder or '.')}{anchor})"
    if (ROOT / file).exists():
        return link["text"]
    return link[0]  # mkdocs says that it leads nowhere
