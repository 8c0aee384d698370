"""Every page, in a real browser. ``make site-test`` runs this, ``make test`` skips it.

A page is visited once: on a desktop and on a phone, in both colour modes. Each test then
looks at one side of what was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from site_reader import DESKTOP, PAGES, PHONE, Reader, Visit

LIMIT = 1_500_000  # bytes, gzipped
NOTEBOOKS = [name for name in PAGES if name.startswith("notebooks/")]


@pytest.fixture(scope="module")
def visit(browser: Any, address: str) -> Callable[[str], Visit]:
    """Visit a page, or recall the visit."""
    visits: dict[str, Visit] = {}

    def go(name: str) -> Visit:
        if name not in visits:
            context = browser.new_context(viewport=DESKTOP)
            visits[name] = Reader(context.new_page(), address).visit(name, DESKTOP, PHONE)
            context.close()
        return visits[name]

    return go


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_without_errors(visit: Callable[[str], Visit], name: str) -> None:
    seen = visit(name)
    assert seen.errors == []
    assert seen.title
    assert seen.headings == 1
    assert seen.broken_images == 0


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_nobody_else(visit: Callable[[str], Visit], name: str) -> None:
    assert visit(name).strangers == []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_light(visit: Callable[[str], Visit], name: str) -> None:
    weights = visit(name).weights
    heaviest = sorted(weights.items(), key=lambda item: -item[1])[:8]
    assert sum(weights.values()) <= LIMIT, heaviest


@pytest.mark.parametrize("name", PAGES)
def test_mathematics_is_rendered(visit: Callable[[str], Visit], name: str) -> None:
    math = visit(name).math
    assert math["wrong"] == []
    assert math["rendered"] == math["written"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_figures_show_and_have_words(visit: Callable[[str], Visit], name: str) -> None:
    seen = visit(name)
    assert seen.images_without_words == 0
    for figure in seen.figures:
        assert figure["seen"], figure
        assert len(figure["alt"]) > 10, figure
        assert len(figure["caption"]) > 10, figure


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_library_complains_on_a_page(visit: Callable[[str], Visit], name: str) -> None:
    """Warnings and progress bars are written to stderr, and the reader has no use for them."""
    assert visit(name).complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(visit: Callable[[str], Visit], name: str) -> None:
    assert visit(name).overflow == []


@pytest.mark.parametrize("view", ["desktop light", "desktop dark", "phone light", "phone dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visit: Callable[[str], Visit], name: str, view: str) -> None:
    assert visit(name).violations[view] == {}
