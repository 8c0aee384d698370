"""What the tests of the site share: its pages, a server like its host, and a reader."""

from __future__ import annotations

import gzip
import http.server
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SITE = Path(os.environ.get("TFBOOK_SITE", ROOT / "_build" / "html"))
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What every figure must have: a drawing that is seen, words for it, and a caption.
FIGURES = """() => [...document.querySelectorAll("figure.tfbook-figure")].map((figure) => {
  const drawing = figure.querySelector("svg[role=img], img");
  const box = drawing.getBoundingClientRect();
  return {
    alt: drawing.getAttribute("aria-label") || drawing.getAttribute("alt") || "",
    caption: figure.querySelector("figcaption")?.textContent || "",
    seen: box.width > 100 && box.height > 50,
  };
})"""
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width + 1) return [];
  const inside = (e) => {
    for (let box = e.parentElement; box && box !== document.body; box = box.parentElement) {
      if (getComputedStyle(box).overflowX !== "visible") return true;
    }
    return false;
  };
  return [...document.querySelectorAll("main *")]
    .filter((e) => e.getBoundingClientRect().right > width + 1 && !inside(e))
    .slice(0, 5).map((e) => e.tagName + "." + e.className);
}"""
MATH = """async () => {
  await window.MathJax?.startup?.promise;
  return {
    written: document.querySelectorAll(".math").length,
    rendered: [...document.querySelectorAll(".math")]
      .filter((e) => e.querySelector("mjx-container")).length,
    wrong: [...document.querySelectorAll("mjx-merror")].map((e) => e.textContent),
  };
}"""
BROKEN = "[...document.images].filter((i) => i.complete && !i.naturalWidth).length"
AXE_RUN = """() => axe.run(document, {resultTypes: ["violations"]}).then((result) =>
  result.violations
    .filter((v) => ["serious", "critical"].includes(v.impact)
      || ["region", "label-content-name-mismatch"].includes(v.id))
    .map((v) => [v.id, v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " +
      (n.any[0]?.message || "") + " " + n.html.slice(0, 120))]))"""
SET_THEME = (
    "(theme) => { for (const k of ['mode', 'theme']) document.documentElement.dataset[k] = theme; }"
)


def prefix() -> str:
    """The folder under which the site is published, taken from the repository's address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return "/" + project["urls"]["Repository"].rstrip("/").rpartition("/")[2] + "/"


def page_names() -> list[str]:
    """Every page of the site that stands for itself, the landing page first."""
    found = [path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")]
    left_out = ("_static", "_modules", "index.html", "404.html", "genindex", "search")
    kept = [name for name in found if not name.startswith(left_out)]
    return sorted(kept, key=lambda name: (name != "book/index.html", name))


PAGES = page_names()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the site as its host does: under a folder, with its own page for what is missing."""

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""

    def translate_path(self, path: str) -> str:
        """Map the published folder to the built one."""
        inside = path.removeprefix(prefix())
        return super().translate_path("/" + inside) if inside != path else "/no/such/file"

    def send_error(self, code: int, *arguments: Any, **more: Any) -> None:
        """Answer with the site's own page."""
        body = (SITE / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A server whose queue holds all that a browser or the link checker asks at once.

    The library's own queue holds five connections; those that do not fit wait for a second or
    more, and are refused in the end.
    """

    request_queue_size = 128


@dataclass
class Visit:
    """What was seen on one page."""

    title: str
    headings: int
    broken_images: int
    images_without_words: int
    complaints: list[str]
    math: dict[str, Any]
    figures: list[dict[str, Any]]
    errors: list[str]
    strangers: list[str]
    weights: dict[str, int]
    overflow: list[str] = field(default_factory=list)
    violations: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Reader:
    """One reader's window: opens pages, and notes what went wrong on the way."""

    page: Any
    address: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A machine that also trains a model is slow, and slowness is not what is tested.
        self.page.set_default_timeout(120_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def open(self, name: str) -> Any:
        """Open a page and wait until it is quiet."""
        self.page.goto(self.address + name, wait_until="networkidle")
        return self.page

    def visit(self, name: str, desktop: dict[str, int], phone: dict[str, int]) -> Visit:
        """Look at a page on both screens and in both colour modes."""
        page = self.open(name)
        seen = Visit(
            title=page.title(),
            math=page.evaluate(MATH),
            headings=page.locator("article h1").count(),
            broken_images=page.evaluate(BROKEN),
            images_without_words=page.locator("main img:not([alt]), main img[alt='']").count(),
            complaints=page.locator("main .output.stderr").all_inner_texts(),
            figures=page.evaluate(FIGURES),
            errors=self.errors,
            strangers=self.strangers,
            weights=self.weights,
        )
        page.add_style_tag(content="*, *::before, *::after { transition: none !important; }")
        page.evaluate(AXE.read_text("utf-8"))
        for screen, size in (("desktop", desktop), ("phone", phone)):
            page.set_viewport_size(size)
            for theme in ("light", "dark"):
                page.evaluate(SET_THEME, theme)
                page.wait_for_timeout(100)
                seen.violations[f"{screen} {theme}"] = dict(page.evaluate(AXE_RUN))
        seen.overflow = page.evaluate(OVERFLOW)
        return seen

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.strangers.append(request.url)

    def _response(self, response: Any) -> None:
        if response.url.startswith(self.address):
            name = response.url.removeprefix(self.address).partition("?")[0].partition("#")[0]
            path = SITE / name
            if path.is_file():
                self.weights[name] = len(gzip.compress(path.read_bytes(), 6))
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")
