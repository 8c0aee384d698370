"""The built site behind a local server, and a real Chromium to read it with.

These tests need Chromium, Node and the built site, so ``make test`` skips them and
``make site-test`` runs them: they run only when the folder is named on the command line.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from site_reader import DESKTOP, FLAGS, PHONE, SITE, Handler, Reader, Server, prefix


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip this folder's tests unless it, or something in it, was asked for by name."""
    named = [Path(str(argument).partition("::")[0]).resolve() for argument in config.args]
    if not any(path == HERE or HERE in path.parents for path in named):
        reason = "needs the built site and Chromium: make site-test runs it"
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of the served site."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"no site in {SITE}: run `make book` first")
    handler = functools.partial(Handler, directory=str(SITE))
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{prefix()}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or the one that CHROMIUM names."""
    from playwright.sync_api import sync_playwright

    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if name and (found := shutil.which(name))), None)
    if program is None:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def reader(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A fresh window; ``@pytest.mark.parametrize("reader", [...], indirect=True)`` sets it up."""
    options = getattr(request, "param", {})
    size = options.get("size", DESKTOP)
    theme = options.get("theme", "light")
    context = browser.new_context(
        viewport=size,
        is_mobile=size == PHONE,
        has_touch=size == PHONE,
        java_script_enabled=options.get("scripts", True),
    )
    script = f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    if not options.get("fresh"):
        context.add_init_script(script)
    yield Reader(context.new_page(), address)
    context.close()
