"""The pages that the site builds from the notebooks, and the faults that stop the build."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sphinx.errors import ExtensionError


def test_a_book_without_faults_builds(book: Any) -> None:
    assert book.build() == 0, book.warnings
    assert book.warnings == ""


def test_ledger_links_to_cells_and_to_answers(book: Any) -> None:
    book.build()
    ledger = book.page("book/ledger")
    assert 'id="c001"' in ledger
    assert 'href="../notebooks/08-first.html#claim-c001"' in ledger
    assert 'href="../notebooks/08-first.html#q001"' in ledger
    assert "It depends" in ledger
    assert re.search(r'href="references.html#[^"]+">Someone and Other 2017</a>', ledger)
    assert 'href="../book/ledger.html#c001"' in book.page("notebooks/08-first")


def test_question_index_links_to_answers_and_evidence(book: Any) -> None:
    book.build()
    index = book.page("book/questions")
    assert 'href="../notebooks/08-first.html#q001"' in index
    assert 'href="../notebooks/09-second.html#claim-c002"' in index
    assert "Why?" in index


def test_evidence_in_an_answer_leads_to_claims_of_any_chapter(book: Any) -> None:
    book.build()
    chapter = book.page("notebooks/08-first")
    assert 'id="q001"' in chapter
    line = re.search(r'<p class="tfbook-evidence">.*?</p>', chapter, re.DOTALL)
    assert line is not None
    assert 'href="#claim-c001"' in line[0]
    assert 'href="09-second.html#claim-c002"' in line[0]


def test_field_guide_links_to_reference_and_chapter(book: Any) -> None:
    book.chapters["08-first"].compared.append(
        {**book.chapters["08-first"].compared[0], "oracle": "x-transformers 2"}
    )
    assert book.build() == 0, book.warnings
    guide = book.page("book/field-guide")
    assert 'href="../notebooks/08-first.html#system-heads"' in guide
    assert 'href="api/shapes.html#tfbook.shapes.split_heads"' in guide
    assert "torch 2.13" in guide
    assert "x-transformers 2" in guide
    # Two comparisons of one system share an anchor, which must stay unique.
    assert book.page("notebooks/08-first").count('id="system-heads"') == 1


def test_reference_leads_to_the_chapter_of_an_object(book: Any) -> None:
    assert book.build() == 0, book.warnings
    # The docstring of split_heads ends in "Chapter: 09."
    assert 'href="../../notebooks/09-second.html">09</a>' in book.page("book/api/shapes")


def _doubled_claim(book: Any) -> None:
    book.chapters["09-second"].claims.append(book.chapters["08-first"].claims[1])


def _doubled_question(book: Any) -> None:
    book.chapters["08-first"].answers += "\n### q002 · How?\n\nSo.\n\nEvidence: c001\n"


def _doubled_system(book: Any) -> None:
    book.chapters["09-second"].compared.extend(book.chapters["08-first"].compared)


def _missing_claim(book: Any) -> None:
    book.required["08-first"]["claims"].append("c009")


def _missing_question(book: Any) -> None:
    book.required["09-second"]["questions"].append("q009")


def _missing_system(book: Any) -> None:
    book.required["09-second"]["systems"] = ["Tails"]


def _missing_chapter(book: Any) -> None:
    book.required["10-third"] = {"questions": []}


def _foreign_claim(book: Any) -> None:
    book.required["08-first"]["claims"] = []


def _misplaced_claim(book: Any) -> None:
    book.required["08-first"]["claims"] = ["c002"]
    book.required["09-second"]["claims"] = ["c001"]


def _dangling_evidence(book: Any) -> None:
    book.chapters["08-first"].answers = "### q001 · Why?\n\nSo.\n\nEvidence: c001, c404\n"


def _no_evidence(book: Any) -> None:
    book.chapters["08-first"].answers = "### q001 · Why?\n\nSo.\n"


def _empty_evidence(book: Any) -> None:
    book.chapters["08-first"].answers = "### q001 · Why?\n\nSo.\n\nEvidence: none\n"


def _no_experiment(book: Any) -> None:
    book.chapters["08-first"].claims[0].update(holds=None, measured=None)


def _failed_experiment(book: Any) -> None:
    book.chapters["08-first"].claims[0].update(holds=False)


def _unknown_source(book: Any) -> None:
    book.chapters["09-second"].claims[0].update(source="nobody1900")


def _one_unknown_source(book: Any) -> None:
    book.chapters["09-second"].claims[0].update(source="key2017, nobody1900")


def _bad_heading(book: Any) -> None:
    book.chapters["08-first"].answers += "\n### q17 · What?\n\nSo.\n"


def _object_without_page(book: Any) -> None:
    book.chapters["08-first"].compared[0]["object"] = "tfbook.shapes.no_such_thing"


def _broken_link(book: Any) -> None:
    book.pages["extra"] = "# Extra\n\nSee [this](no-such-page.md).\n"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_doubled_claim, "claim 'b001' occurs 2 times"),
        (_doubled_question, "question 'q002' occurs 2 times"),
        (_doubled_system, "system 'Heads' occurs 2 times"),
        (_missing_claim, "claim 'c009' is required and missing"),
        (_missing_question, "question 'q009' is required and missing"),
        (_missing_system, "system 'Tails' is required and missing"),
        (_missing_chapter, "chapter '10-third' is finished but not in the book"),
        (_foreign_claim, "claim 'c001' is not in book/requirements.yml"),
        (_misplaced_claim, "claim 'c001' belongs to chapter '09-second'"),
        (_dangling_evidence, "question 'q001': no claim 'c404' in the book"),
        (_no_evidence, "question 'q001' has no line 'Evidence: c029'"),
        (_empty_evidence, "question 'q001' has no line 'Evidence: c029'"),
        (_no_experiment, "claim 'c001' has neither an experiment nor a source"),
        (_failed_experiment, "claim 'c001' has neither an experiment nor a source"),
        (_unknown_source, "claim 'c002': no 'nobody1900' in book/references.bib"),
        (_one_unknown_source, "claim 'c002': no 'nobody1900' in book/references.bib"),
        (_bad_heading, "heading 'q17 · What?' must read 'q054 · The question'"),
        (_object_without_page, "no page of the reference holds 'tfbook.shapes.no_such_thing'"),
        (_broken_link, "no-such-page"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_planted_fault_stops_the_build(
    book: Any, fault: Callable[[Any], None], message: str
) -> None:
    fault(book)
    assert book.build("dummy") != 0
    assert message in book.warnings


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (
            "../notebooks/08-first.html#claim-c404",
            "no anchor '../notebooks/08-first.html#claim-c404'",
        ),
        ("#nowhere", "no anchor '#nowhere'"),
        ("gone.html", "no page 'gone.html'"),
    ],
)
def test_a_broken_link_in_raw_html_stops_the_build(book: Any, link: str, message: str) -> None:
    book.pages["extra"] = f'# Extra\n\n<a href="{link}">x</a>\n'
    with pytest.raises(ExtensionError, match=re.escape(message)):
        book.build()


def test_an_unfinished_chapter_may_lack_ids(book: Any) -> None:
    book.required["09-second"].update(finished=False, claims=["c002", "c009"])
    book.required["10-third"] = {"finished": False, "questions": ["q010"]}
    assert book.build("dummy") == 0, book.warnings


def test_same_anchor_twice_on_a_page_stops_the_build(book: Any) -> None:
    book.pages["extra"] = '# Extra\n\n<p id="claim-c001"></p>\n<p id="claim-c001"></p>\n'
    with pytest.raises(ExtensionError, match="the anchor 'claim-c001' occurs twice"):
        book.build()
