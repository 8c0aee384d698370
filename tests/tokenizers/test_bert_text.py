"""BERT's words: by hand, and as the library normalises and splits every character."""

from __future__ import annotations

import unicodedata

import pytest
from awkward_lines import awkward_lines
from tokenizers import normalizers, pre_tokenizers

from tfbook.tokenizers import BertText


def test_by_hand() -> None:
    text = BertText()
    assert text.words("Don't\tSTOP—me  now") == ["don", "'", "t", "stop", "—", "me", "now"]
    assert text.words("Ünïcödé Å e\u0301\u0302") == ["unicode", "a", "e"]
    assert text.words("a中文b") == ["a", "中", "文", "b"]
    assert text.words("a\u200b\x00\ufffd\x07b") == ["ab"]
    assert text.words("") == text.words(" \n\u3000") == []
    cased = BertText(lowercase=False)
    assert cased.words("Ünï Σ") == ["Ünï", "Σ"]
    assert BertText(strip_accents=False).words("Ünï ΣΑΣ") == ["ünï", "σασ"]
    assert BertText(lowercase=False, strip_accents=True).words("Ünï") == ["Uni"]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
@pytest.mark.parametrize(("clean", "ideographs"), [(True, True), (False, True), (True, False)])
def test_normalised_as_the_library_does(
    lowercase: bool, strip_accents: bool | None, clean: bool, ideographs: bool
) -> None:
    ours = BertText(
        lowercase=lowercase,
        strip_accents=strip_accents,
        clean_text=clean,
        space_ideographs=ideographs,
    )
    theirs = normalizers.BertNormalizer(
        lowercase=lowercase,
        strip_accents=strip_accents,
        clean_text=clean,
        handle_chinese_chars=ideographs,
    )
    split = pre_tokenizers.BertPreTokenizer()
    for line in awkward_lines(100):
        normal = theirs.normalize_str(line)
        assert ours.normalize(line) == normal
        assert ours.words(line) == [word for word, _ in split.pre_tokenize_str(normal)]


def test_every_character_that_unicode_8_had_is_classed_as_the_library_does() -> None:
    theirs, ours = normalizers.BertNormalizer(), BertText()
    split = pre_tokenizers.BertPreTokenizer()
    different = []
    for code in range(0x3400):
        letter = chr(code)
        if unicodedata.category(letter) in {"Cs", "Cn", "Co"}:
            continue
        words = [word for word, _ in split.pre_tokenize_str(theirs.normalize_str(f"a{letter}b"))]
        if words != ours.words(f"a{letter}b"):
            different.append(letter)
    # Marks and letters of scripts that came later, by the version that Python has.
    assert len(different) < 150
    assert all(ord(letter) > 0x5FF for letter in different)
    kinds = {unicodedata.category(letter) for letter in different}
    assert kinds <= {"Mn", "Cf", "Mc", "Lu", "Po", "Pd"}, kinds


def test_positions_lead_back_to_the_text() -> None:
    for text in (BertText(), BertText(lowercase=False)):
        for line in awkward_lines(300):
            pairs = text.words_with_positions(line)
            assert [word for word, _ in pairs] == text.words(line)
            for word, places in pairs:
                assert len(places) == len(word)
                assert places == sorted(places)
                for letter, place in zip(word, places, strict=True):
                    assert letter in text.normalize(line[place])


def test_equality() -> None:
    assert BertText() == BertText(strip_accents=None)
    assert hash(BertText()) == hash(BertText())
    assert BertText() != BertText(lowercase=False)
    assert BertText() != "BertText"
