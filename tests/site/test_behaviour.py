"""What a reader does: search, switch colours, use the keyboard, follow links.

``make site-test`` runs this, ``make test`` does not.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any
from urllib.parse import quote_plus

import pytest
import yaml
from site_reader import HERE, PAGES, PHONE, ROOT, SITE

CHAPTERS = [name for name in PAGES if re.fullmatch(r"notebooks/\d\d-[\w-]+\.html", name)]
NOTEBOOKS = [name for name in PAGES if name.startswith("notebooks/")]


def toc_entries() -> list[str]:
    """All pages that the table of contents names."""

    def files(part: Any) -> list[str]:
        if isinstance(part, list):
            return [name for item in part for name in files(item)]
        if isinstance(part, dict):
            own = [part[key] for key in ("file", "root") if key in part]
            return own + [
                n for value in part.values() if not isinstance(value, str) for n in files(value)
            ]
        return []

    return files(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8")))


def test_every_entry_of_the_contents_has_a_page() -> None:
    missing = [name for name in toc_entries() if not (SITE / f"{name}.html").is_file()]
    assert missing == []
    assert len(toc_entries()) == len(set(toc_entries())) > 10


def test_links_resolve(address: str) -> None:
    program = HERE / "node_modules" / ".bin" / "linkinator"
    only_here = f"^(?!{re.escape(address.rstrip('/'))})"
    command = [str(program), address, "--recurse", "--skip", only_here, "--verbosity", "error"]
    command += ["--concurrency", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_first_page_leads_to_the_book(reader: Any) -> None:
    page = reader.page
    page.goto(reader.address, wait_until="commit")
    page.wait_for_url("**/book/index.html")
    assert page.locator("article h1").first.inner_text().startswith("The Executable Transformer")
    assert page.locator(".tfbook-card").count() == len(CHAPTERS)


def test_search_finds_a_question_by_its_words(reader: Any) -> None:
    page = reader.open("book/questions.html")
    link = page.locator("ul.tfbook-questions a").first
    chapter = re.search(r"notebooks/[\w-]+\.html", link.get_attribute("href"))[0]
    words = " ".join(re.findall(r"[a-z]{5,}", link.inner_text().lower())[:4])
    reader.open(f"search.html?q={quote_plus(words)}")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    page.wait_for_timeout(500)
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
    assert any(chapter in target for target in found), (words, found)


@pytest.mark.parametrize("reader", [{"fresh": True}], indirect=True, ids=[""])
def test_colour_mode_can_be_switched(reader: Any) -> None:
    page = reader.open(CHAPTERS[0])
    seen = {}
    for _ in range(3):
        theme = page.evaluate("document.documentElement.dataset.theme")
        seen[theme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("button.theme-switch-button:visible").first.click()
    assert set(seen) == {"light", "dark"}
    assert seen["light"] != seen["dark"]


def test_skip_link_is_the_first_stop_and_leads_to_the_text(reader: Any) -> None:
    page = reader.open(CHAPTERS[0])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
    # The theme slides the link in, so it is looked at once it has come to rest.
    page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0", timeout=5_000)
    assert page.evaluate("document.activeElement.getBoundingClientRect().height") > 10
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")


def test_sidebar_can_be_reached_by_keyboard_and_focus_is_seen(reader: Any) -> None:
    page = reader.open(CHAPTERS[0])
    for _ in range(40):
        page.keyboard.press("Tab")
        inside = page.evaluate("!!document.activeElement.closest('.bd-sidebar-primary nav a')")
        if inside or page.evaluate("!!document.activeElement.closest('.bd-links a')"):
            break
    else:
        pytest.fail("forty steps with Tab did not reach the contents")
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style not in ("none", "")


@pytest.mark.parametrize("reader", [{"size": PHONE}], indirect=True, ids=["phone"])
def test_contents_open_on_a_phone(reader: Any) -> None:
    page = reader.open(CHAPTERS[0])
    link = page.locator(".bd-links a:visible")
    assert link.count() == 0
    page.locator("button.primary-toggle:visible").first.click()
    page.wait_for_timeout(500)
    assert link.count() > 5


def test_unknown_address_shows_the_site_s_own_page(reader: Any) -> None:
    page = reader.page
    page.goto(reader.address + "deep/down/no-such-page.html", wait_until="networkidle")
    assert "no such page" in page.locator("article h1").first.inner_text().lower()
    broken = [error for error in reader.errors if "no-such-page" not in error]
    assert [error for error in broken if not error.startswith("Failed to load resource")] == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_has_its_buttons(reader: Any, name: str) -> None:
    page = reader.open(name)
    links = page.eval_on_selector_all("a[href]", "links => links.map(a => a.getAttribute('href'))")
    source = name.replace(".html", ".ipynb")
    assert any("colab.research.google.com" in u and u.endswith(source) for u in links)
    assert any("/edit/" in u and u.endswith(source) for u in links)
    assert any("/issues/new" in u for u in links)


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_says_what_it_costs(reader: Any, name: str) -> None:
    facts = reader.open(name).locator(".tfbook-facts").inner_text()
    assert re.search(r"Runs in\s+\d+ s", facts), facts
    assert "solutions" in facts


def test_ledger_can_be_filtered(reader: Any) -> None:
    page = reader.open("book/ledger.html")
    rows = page.locator(".tfbook-row:visible")
    everything = rows.count()
    verdict = page.locator(".tfbook-row .tfbook-badge").first.inner_text().split()[-1]
    page.select_option("select[name=verdict]", verdict)
    assert 0 < rows.count() <= everything
    assert page.locator(f".tfbook-row:visible:not(.tfbook-{verdict})").count() == 0
    page.fill("input[name=words]", "no claim says this")
    assert rows.count() == 0
    assert page.locator(".tfbook-shown").inner_text().startswith("0 of")


@pytest.mark.parametrize("reader", [{"scripts": False}], indirect=True, ids=["no-scripts"])
def test_ledger_is_whole_without_scripts(reader: Any) -> None:
    page = reader.page
    page.goto(reader.address + "book/ledger.html")
    assert page.locator(".tfbook-row:visible").count() == page.locator(".tfbook-row").count() > 0
    assert page.locator(".tfbook-filter:visible").count() == 0


@pytest.mark.parametrize("reader", [{"size": PHONE}, {}], indirect=True, ids=["phone", "desktop"])
def test_what_scrolls_sideways_can_be_reached_by_keyboard(reader: Any) -> None:
    page = reader.open(CHAPTERS[0])
    unreachable = page.evaluate(
        """() => [...document.querySelectorAll("main pre, main .tfbook-drawing")].filter(
          (e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && e.tabIndex < 0).length"""
    )
    assert unreachable == 0


def test_shared_links_have_words_and_a_picture() -> None:
    page = (SITE / "book" / "index.html").read_text("utf-8")
    for name in ("og:title", "og:description", "og:image", "og:url"):
        assert f'property="{name}"' in page
    assert (SITE / "_static" / "card.png").is_file()
    assert "<loc>" in (SITE / "sitemap.xml").read_text("utf-8")
