"""Cuts to ids: unknown runs, bytes, and words cut one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfbook.tokenizers.unigram_model import UnigramModel, spell_bytes

BYTES = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
PIECES = [("<unk>", 0.0), ("▁", -2.0), ("a", -1.0), ("▁a", -1.5), ("ab", -1.2)]


@given(st.text(alphabet="ab▁é", max_size=12))
def test_word_by_word_is_the_same(text: str) -> None:
    model = UnigramModel(PIECES, unk_id=0)
    whole = UnigramModel([*PIECES, ("q▁q", -9.0)], unk_id=0)
    whole._segmenter.unknown_score = model._segmenter.unknown_score
    assert model.splits
    assert not whole.splits
    assert model.ids(text) == whole.ids(text)
    assert list(model.tokens(text)) == list(whole.tokens(text))


def test_bytes() -> None:
    model = UnigramModel([*PIECES, *BYTES], unk_id=0, byte_fallback=True)
    assert list(model.tokens("aé")) == [(0, 1, 2), (1, 2, 5 + 0xC3), (1, 2, 5 + 0xA9)]
    assert list(spell_bytes(["<0xC3>", "<0xA9>", "x", "<0xA9>", "<0x41>"])) == ["é", "x", "��"]
    with pytest.raises(ValueError, match="byte_fallback=True needs 256 pieces for bytes, and 255"):
        UnigramModel([*PIECES, BYTES[0]], unk_id=0, byte_fallback=True)


def test_hidden_pieces_are_not_found() -> None:
    assert UnigramModel(PIECES, unk_id=0, hidden=frozenset({4})).ids("ab") == [2, 0]
