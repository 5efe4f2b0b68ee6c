# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser: they work by mouse and keyboard, on a phone, log and fetch nothing, are quick."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs aflow-env[report]")

from aflow_env.report.html.page import page as report_page
from aflow_env.report.html.tree_page import tree_page
from aflow_env.report.summary import summarise
from aflow_env.store.database import ReadOnlyStore
from tests.report.browser import Page, browser, screenshots
from tests.report.runs import large_store, round_, run

NODES = 10_000
FIRST_PAINT_SECONDS = 2.0


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture
def quiet(page: Page) -> Iterator[Page]:
    """The page; whatever it logged or fetched but itself fails the test."""
    page.problems.clear()
    page.requests.clear()
    yield page
    page.run("1")
    assert not page.problems
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requests)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rounds = tuple(round_(place + 1, place or None, 0.2 + place / 20, q=0.3 + place / 20) for place in range(9))
    runs = [
        run(w, seed, 0.3 + w / 3 + seed / 40, (0.2, 0.3 + seed / 30, None, 0.5))
        for w in (0, 0.5, 1)
        for seed in range(4)
    ]
    runs += [type(runs[0])(**{**vars(run(1, 9, 0.7)), "rounds": rounds})]
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report_page(summarise(runs, ["rl_weight"])))
    return file


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(large_store(tmp_path_factory.mktemp("tree") / "run", 60))


def write_tree(run: Path) -> Path:
    store = ReadOnlyStore(run / "run.sqlite")
    (run / "tree.html").write_text(tree_page(store, "a run"), encoding="utf-8")
    store.close()
    return run / "tree.html"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_report_fits_and_is_legible(quiet: Page, report: Path, tmp_path: Path, width: int, dark: bool) -> None:
    quiet.open(report, width, 900, dark)
    quiet.screenshot(screenshots(tmp_path) / f"report-{width}{'-dark' if dark else ''}.png")
    assert quiet.run("document.documentElement.scrollWidth") <= width
    ground = quiet.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
    assert quiet.run("document.querySelectorAll('figure').length") >= 6
    assert "SIMULATED" in quiet.run("document.body.innerText")
    ink = quiet.run("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert ink == quiet.run("getComputedStyle(document.body).color"), "text of a plot has the page's colour"


def test_every_plot_has_a_name_n_and_its_numbers_as_a_table(quiet: Page, report: Path) -> None:
    quiet.open(report)
    for script in (
        "document.querySelectorAll('figure svg[role=img][aria-label]').length",
        "[...document.querySelectorAll('figcaption')].filter(each => /n=\\d/.test(each.textContent)).length",
        "[...document.querySelectorAll('figure details table')].filter(each => each.rows.length > 1).length",
    ):
        assert quiet.run(script) == quiet.run("document.querySelectorAll('figure').length"), script
    ids = quiet.run("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_the_numbers_open_by_keyboard(quiet: Page, report: Path) -> None:
    quiet.open(report)
    quiet.run("document.querySelector('details summary').focus()")
    quiet.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    quiet.wait("document.querySelector('details').open")


def test_a_click_on_a_node_shows_what_it_is(quiet: Page, tree: Path, tmp_path: Path) -> None:
    quiet.open(tree)
    quiet.wait("performance.getEntriesByName('first-paint-of-tree').length > 0")
    x, y = quiet.run(
        "(() => { const b = canvas.getBoundingClientRect(); return [b.x + sx(D.best), b.y + sy(D.best)]; })()"
    )
    quiet.click(x, y)
    quiet.wait("document.querySelector('#panel h2')")
    quiet.screenshot(screenshots(tmp_path) / "tree-1280.png", whole=False)
    text = quiet.run("$('panel').innerText")
    for part in (
        "Round 60",
        "graph.py",
        "# version 60",
        "Difference to the parent",
        "p-1, wrong: 41",
        "Feedback: expected <42>, got 41",
        "1. Custom: 41",
        "operation",
    ):
        assert part in text
    assert "change 60 & <b>more</b>" in text, "a model's text is text"
    marks = quiet.run("[...document.querySelectorAll('#difference .plus')].map(each => each.textContent)")
    assert "+ # version 60\n" in marks


def test_the_tree_opens_with_the_best_node_chosen(quiet: Page, tree: Path) -> None:
    """The page shows the best workflow before any click, its cost as unknown where no call has a price."""
    quiet.open(tree)
    quiet.wait("document.querySelector('#panel h2')")
    assert quiet.run("chosen === D.best")
    text = quiet.run("$('panel').innerText")
    assert "USD unknown, 8 calls" in text
    assert "truncated replies 3" in text


def test_the_tree_is_walked_by_keyboard(quiet: Page, tree: Path) -> None:
    quiet.open(tree)
    quiet.run("canvas.focus()")
    quiet.wait("chosen === D.best")
    best_parent = quiet.run("D.parent[D.best]")
    quiet.press("ArrowLeft")
    quiet.wait(f"chosen === {best_parent}")
    quiet.press("ArrowRight")
    quiet.wait(f"D.parent[chosen] === {best_parent}")


def test_search_and_filters(quiet: Page, tree: Path) -> None:
    quiet.open(tree)
    said = {"search": ("change 7 ", 1), "filter": ("rejected", 1), "least": ("0.75", None)}
    for name, (value, count) in said.items():
        quiet.run(f"$('{name}').value = '{value}'; $('{name}').dispatchEvent(new Event('input'))")
        found = quiet.run("shown.filter(each => each === 2).length")
        assert found == count if count is not None else 0 < found < 60, name
        default = {"search": "", "filter": "all", "least": "0"}[name]
        quiet.run(f"$('{name}').value = '{default}'; $('{name}').dispatchEvent(new Event('input'))")
    quiet.run("$('layout').value = 'time'; $('layout').dispatchEvent(new Event('input'))")
    assert quiet.run("Y[D.best]") == pytest.approx(1 - quiet.run("D.score[D.best]"))
    quiet.run("document.querySelector('#rows button').click()")
    quiet.wait("chosen === D.best")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_the_tree_on_a_phone_and_in_the_dark(quiet: Page, tree: Path, tmp_path: Path, width: int, dark: bool) -> None:
    quiet.open(tree, width, 800, dark)
    quiet.run("$('best').click()")
    quiet.wait("document.querySelector('#panel h2')")
    quiet.screenshot(screenshots(tmp_path) / f"tree-{width}{'-dark' if dark else ''}.png")
    assert quiet.run("document.documentElement.scrollWidth") <= width


def test_ten_thousand_nodes_are_quick(quiet: Page, tmp_path: Path) -> None:
    file = write_tree(large_store(tmp_path / "run", NODES))
    quiet.open(file)
    quiet.wait("performance.getEntriesByName('first-paint-of-tree').length > 0")
    first = quiet.run("performance.getEntriesByName('first-paint-of-tree')[0].startTime") / 1000
    quiet.screenshot(screenshots(tmp_path) / "tree-10000.png", whole=False)
    frame = quiet.run(
        "(() => { const times = []; for (let k = 0; k < 10; k++) { const t = performance.now(); "
        "draw(); times.push(performance.now() - t); } return Math.min(...times); })()"
    )
    click = quiet.run(
        "(async () => { const t = performance.now(); await choose(D.best, true); return performance.now() - t; })()"
    )
    print(
        f"first paint {first:.2f} s, a frame {frame:.0f} ms, first click {click:.0f} ms, {file.stat().st_size:,} bytes"
    )
    assert first < FIRST_PAINT_SECONDS
    assert frame < 100
    assert click < 2000
