"""What must hold between questions, claims, comparisons and ``book/requirements.yml``.

Each problem is a Sphinx warning, so that a build with ``-W --keep-going`` lists them all
and then fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from tfbook_site import collect, references

logger = logging.getLogger(__name__)
KINDS = ("questions", "claims", "systems")
VERDICTS = {"confirmed", "refined", "refuted", "open"}


def requirements(app: Sphinx) -> dict[str, dict[str, Any]]:
    """The chapters of ``book/requirements.yml``, by the name of their notebook."""
    path = Path(app.srcdir) / "book" / "requirements.yml"
    if not path.is_file():
        return {}
    return yaml.safe_load(path.read_text("utf-8"))["chapters"]


def bibliography(app: Sphinx) -> set[str]:
    """The keys of ``book/references.bib``."""
    path = Path(app.srcdir) / "book" / "references.bib"
    if not path.is_file():
        return set()
    return set(re.findall(r"^@\w+\{\s*([^,\s]+)\s*,", path.read_text("utf-8"), re.MULTILINE))


def on_check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every problem, at the page where it stands."""
    found = list(collect.pages(env).values())
    chapters = collect.chapters(env)
    checks = [
        *_doubled(found),
        *_malformed(found),
        *_claims(found, bibliography(app)),
        *_evidence(found),
        *_required(chapters, requirements(app)),
        *_objects(found, env),
    ]
    for docname, message in checks:
        logger.warning(message, location=docname, type="tfbook", subtype="evidence")


def held(page: collect.Page) -> dict[str, list[str]]:
    """The ids that a page holds, by kind; an id that occurs twice stands twice."""
    return {
        "questions": [question.id for question in page.questions],
        "claims": [claim["id"] for claim in page.claims],
        "systems": [record["system"] for record in page.compared],
    }


def _doubled(found: list[collect.Page]) -> Iterator[tuple[str, str]]:
    for kind in KINDS:
        places: dict[str, list[str]] = {}
        for page in found:
            # One chapter may compare a system with several implementations.
            names = held(page)[kind] if kind != "systems" else sorted(set(held(page)[kind]))
            for name in names:
                places.setdefault(name, []).append(page.docname)
        for name, docnames in places.items():
            if len(docnames) > 1:
                where = ", ".join(sorted(Counter(docnames)))
                yield docnames[-1], f"{kind[:-1]} {name!r} occurs {len(docnames)} times: {where}"


def _malformed(found: list[collect.Page]) -> Iterator[tuple[str, str]]:
    for page in found:
        for title in page.malformed:
            yield page.docname, f"heading {title!r} must read 'q054 · The question'"


def _claims(found: list[collect.Page], keys: set[str]) -> Iterator[tuple[str, str]]:
    for page in found:
        for claim in page.claims:
            name, source = claim["id"], claim.get("source")
            if claim.get("verdict") not in VERDICTS:
                yield page.docname, f"claim {name!r} has no verdict"
            for key in references.keys(source) if source is not None else ():
                if key not in keys:
                    yield page.docname, f"claim {name!r}: no {key!r} in book/references.bib"
            if source is None and not (claim.get("holds") is True and claim.get("measured")):
                yield page.docname, f"claim {name!r} has neither an experiment nor a source"


def _evidence(found: list[collect.Page]) -> Iterator[tuple[str, str]]:
    known = {claim["id"] for page in found for claim in page.claims}
    for page in found:
        for question in page.questions:
            if not question.evidence:
                yield page.docname, f"question {question.id!r} has no line 'Evidence: c029'"
            for name in question.evidence or ():
                if name not in known:
                    yield page.docname, f"question {question.id!r}: no claim {name!r} in the book"


def _required(
    chapters: list[collect.Page], required: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    by_name = {page.chapter: page for page in chapters}
    owners = {(kind, name): chapter for chapter, kind, name in _ids(required)}
    finished = {name for name, content in required.items() if content.get("finished", True)}
    for chapter in sorted(finished - set(by_name)):
        yield "book/requirements", f"chapter {chapter!r} is finished but not in the book"
    for chapter, kind, name in _ids(required):
        if chapter in finished & set(by_name) and name not in held(by_name[chapter])[kind]:
            yield by_name[chapter].docname, f"{kind[:-1]} {name!r} is required and missing"
    for page in chapters:
        for kind, names in held(page).items():
            for name in names:
                yield from _misplaced(page, kind, name, owners.get((kind, name)))


def _objects(found: list[collect.Page], env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    documented = env.get_domain("py").objects  # type: ignore[attr-defined]
    for page in found:
        for name in sorted({r["object"] for r in page.compared if r["object"]}):
            if name not in documented:
                yield page.docname, f"no page of the reference holds {name!r}"


def _misplaced(
    page: collect.Page, kind: str, name: str, owner: str | None
) -> Iterator[tuple[str, str]]:
    """An id in a chapter that does not own it; experiments and systems of our own are free."""
    own = kind == "systems" or name.startswith("b")
    if owner is None and not own:
        yield page.docname, f"{kind[:-1]} {name!r} is not in book/requirements.yml"
    elif owner is not None and owner != page.chapter:
        yield page.docname, f"{kind[:-1]} {name!r} belongs to chapter {owner!r}"


def _ids(required: dict[str, dict[str, Any]]) -> Iterable[tuple[str, str, str]]:
    for chapter, content in required.items():
        for kind in KINDS:
            for name in content.get(kind) or ():
                yield chapter, kind, name


def setup(app: Sphinx) -> None:
    """Check when everything is read and nothing is written."""
    app.connect("env-check-consistency", on_check)
