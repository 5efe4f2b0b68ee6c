# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md names files and functions that exist, and README stays short."""

import re
from pathlib import Path

from recipe.site.drawings import FOLDER, drawings
from tests.docs.pages import DOCS

PACKAGE = DOCS.parent / "aflow_env"
TEXT = (DOCS / "architecture.md").read_text(encoding="utf-8")
STOPS = [row for row in TEXT.splitlines() if re.match(r"\| \d+ ", row)]


def test_the_journey_has_at_most_twelve_stops_and_each_names_code_that_exists() -> None:
    """Each row's last cell names files of the package, and functions or classes that are defined there."""
    assert 8 <= len(STOPS) <= 12
    for row in STOPS:
        where = row.split("|")[3]
        files = re.findall(r"\w[\w/]*\.py", where)
        code = "\n".join((PACKAGE / file).read_text(encoding="utf-8") for file in files)
        for name in re.findall(r"`([\w.]+)`", where) if files else ():
            for part in name.split("."):
                assert re.search(rf"(?:def|class) {part}\b", code), f"{name} is not in {files}"


def test_every_file_that_the_page_names_exists() -> None:
    """A path on the page leads somewhere."""
    for file in re.findall(r"\b(?:[a-z_]+/)+\w+\.py", TEXT):
        assert (PACKAGE / file).is_file() or (DOCS.parent / file).is_file(), file


def test_the_drawings_are_those_that_the_script_makes() -> None:
    """`python -m recipe.site.drawings` would change nothing."""
    assert {name: (FOLDER / name).read_text(encoding="utf-8") for name in drawings()} == drawings()


def test_readme_is_short_and_its_pictures_exist() -> None:
    """README has at most 110 lines, and every picture that it shows is in the repository."""
    readme: str = (Path(DOCS).parent / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 110
    shown = re.findall(r"docs/images/[\w.-]+", readme)
    assert shown
    assert all((Path(DOCS).parent / picture).is_file() for picture in shown)
