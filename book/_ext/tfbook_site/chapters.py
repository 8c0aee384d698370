"""What the site adds to a chapter: the line under its title, and links both ways."""

from __future__ import annotations

import html
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from tfbook_site import collect, consistency, references

logger = logging.getLogger(__name__)
LEDGER = "book/ledger"
CLAIM_LINK = re.compile(r'(<a class="tfbook-id" href=")#claim-([bc]\d{3})"')
API_LINK = re.compile(r'<a class="tfbook-api" data-object="([\w.]+)"(?: href="[^"]*")?>')
SYSTEM_ID = re.compile(r' id="(system-[a-z0-9-]+)"')
LOOKED_UP = re.compile(r"<i>looked up</i> · ([^<]+)</div>")
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


def link(app: Sphinx, start: str, target: str, anchor: str, *content: nodes.Node) -> nodes.Node:
    """A link between two pages of the site."""
    uri = app.builder.get_relative_uri(start, target) if start != target else ""
    uri = f"{uri}#{anchor}" if anchor else uri
    return nodes.reference("", "", *content, internal=True, refuri=uri)


def claim_places(app: Sphinx) -> dict[str, str]:
    """The page of each claim."""
    found = collect.pages(app.env).values()
    return {claim["id"]: page.docname for page in found for claim in page.claims}


def on_resolved(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Finish one page when all are read."""
    page = collect.pages(app.env).get(docname)
    if page is None:
        return
    if page in collect.chapters(app.env):
        _add_line(app, doctree, page)
    _link_evidence(app, doctree, docname)
    _link_outputs(app, doctree, docname)


def _add_line(app: Sphinx, doctree: nodes.document, page: collect.Page) -> None:
    """Put run time, memory, modules and solutions under the title."""
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        return
    line = nodes.container(classes=["tfbook-facts"])
    line += _fact("Chapter", nodes.Text(page.number))
    if page.seconds is not None:
        cost = f"{page.seconds:.0f} s"
        if page.peak_mb is not None:
            cost += f" · {page.peak_mb:,.0f} MB".replace(",", "\N{NARROW NO-BREAK SPACE}")
        line += _fact("Runs in", nodes.Text(cost))
    modules = consistency.requirements(app).get(page.chapter, {}).get("modules") or ()
    known = [name for name in modules if _api_page(name) in app.env.found_docs]
    if known:
        line += _fact("Builds", *_modules(app, page.docname, known))
    solutions = f"notebooks/solutions/{page.chapter}"
    if solutions in app.env.found_docs:
        line += _fact("Exercises", link(app, page.docname, solutions, "", nodes.Text("solutions")))
    if page.claims:
        words = nodes.Text(f"{len(page.claims)} in the ledger")
        anchor = f"chapter-{page.number}"
        line += _fact("Claims", link(app, page.docname, LEDGER, anchor, words))
    if line.children:
        title.parent.insert(title.parent.index(title) + 1, line)


def _fact(name: str, *content: nodes.Node) -> nodes.paragraph:
    label = nodes.inline("", name, classes=["tfbook-fact-name"])
    return nodes.paragraph("", "", label, nodes.Text(" "), *content)


def _api_page(module: str) -> str:
    return f"book/api/{module.split('.')[1]}"


def _modules(app: Sphinx, docname: str, names: list[str]) -> list[nodes.Node]:
    parts: list[nodes.Node] = []
    for name in names:
        parts += [nodes.Text(", ")] if parts else []
        parts.append(link(app, docname, _api_page(name), "", nodes.literal("", name)))
    return parts


def _link_evidence(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    places = claim_places(app)
    for line in doctree.findall(nodes.paragraph):
        if "tfbook-evidence" not in line["classes"]:
            continue
        text = line.astext().removeprefix("Evidence:")
        line.clear()
        line += [nodes.inline("", "Evidence", classes=["tfbook-fact-name"]), nodes.Text(" ")]
        position = 0
        for match in collect.CLAIM_ID.finditer(text):
            line += nodes.Text(text[position : match.start()].lstrip(": "))
            line += claim_link(app, docname, places, match[0])
            position = match.end()
        line += nodes.Text(text[position:])


def claim_link(app: Sphinx, start: str, places: dict[str, str], name: str) -> nodes.Node:
    """A link to the cell that shows a claim, or its bare name where there is none."""
    if name not in places:
        return nodes.Text(name)
    content = nodes.inline("", name, classes=["tfbook-cid"])
    return link(app, start, places[name], f"claim-{name}", content)


def _link_outputs(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Links inside displayed outputs: claim → ledger, object → reference."""
    seen: set[str] = set()
    for node in doctree.findall(nodes.raw):
        markup = node.astext()
        if node.get("format") != "html" or "tfbook-" not in markup:
            continue

        def to_ledger(match: re.Match[str]) -> str:
            uri = app.builder.get_relative_uri(docname, LEDGER)
            return f'{match[1]}{uri}#{match[2]}" title="{match[2]} in the ledger"'

        def to_reference(match: re.Match[str]) -> str:
            return f'<a class="tfbook-api" href="{_object_uri(app, docname, match[1])}">'

        def to_source(match: re.Match[str]) -> str:
            entries = []
            for key in references.keys(match[1]):
                target = references.uri(app, docname, key)
                words = html.escape(references.words(app, key))
                entries.append(f'<a href="{target}">{words}</a>' if target else words)
            return f"<i>looked up</i> · {'; '.join(entries)}</div>"

        def once(match: re.Match[str]) -> str:
            doubled = match[1] in seen
            seen.add(match[1])
            return "" if doubled else match[0]

        markup = CLAIM_LINK.sub(to_ledger, markup)
        markup = API_LINK.sub(to_reference, markup)
        markup = SYSTEM_ID.sub(once, markup)
        markup = LOOKED_UP.sub(to_source, markup)
        # The site's own style sheet colours source; see _static/tfbook.css.
        markup = STYLE.sub("", markup) if "tfbook-source" in markup else markup
        node.rawsource = markup
        node.children = [nodes.Text(markup)]


def _object_uri(app: Sphinx, docname: str, name: str) -> str:
    target = object_page(app, name)
    if target is None:
        logger.warning("no page of the reference holds %r", name, location=docname, type="tfbook")
        return "#"
    return f"{app.builder.get_relative_uri(docname, target)}#{name}"


def object_page(app: Sphinx, name: str) -> str | None:
    """The page of the reference that documents an object."""
    entry = app.env.get_domain("py").objects.get(name)  # type: ignore[attr-defined]
    return entry.docname if entry else None


def setup(app: Sphinx) -> None:
    """Run after myst-nb has chosen the form of each output."""
    app.connect("doctree-resolved", on_resolved)
