"""sentencepiece's files, against that library."""

from __future__ import annotations

from pathlib import Path

import pytest
import unigram

from tfbook.tokenizers.sentencepiece_model import read_sentencepiece


def test_reads_what_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "m.model"
    for options in ({}, {"byte_fallback": True, "pad_id": 3}, {"add_dummy_prefix": False}):
        path.write_bytes(unigram.trained(**options))
        ours, theirs = read_sentencepiece(path), unigram.library(**options)
        size = theirs.get_piece_size()
        assert [piece for piece, _ in ours.pieces] == [theirs.id_to_piece(i) for i in range(size)]
        assert [score for _, score in ours.pieces] == [theirs.get_score(i) for i in range(size)]
        assert (ours.unk_id, ours.bos_id, ours.eos_id) == (0, 1, 2)
        assert ours.pad_id == (3 if "pad_id" in options else None)
        assert ours.byte_fallback == ("byte_fallback" in options)
        assert ours.dummy_prefix == ("add_dummy_prefix" not in options)
        assert ours.collapse_spaces
        assert [i for i in range(size) if ours.kinds[i] == 3] == [
            i for i in range(size) if theirs.is_control(i)
        ]
        assert [i for i in range(size) if ours.kinds[i] == 6] == [
            i for i in range(size) if theirs.is_byte(i)
        ]


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "m.model"
    whole = unigram.trained()
    path.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=r"m.model' is no sentencepiece model, or cut off"):
        read_sentencepiece(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds no pieces; give the \.model file"):
        read_sentencepiece(path)
    path.write_bytes(b"\x0f\x0f\x0f")
    with pytest.raises(ValueError, match="is no sentencepiece model"):
        read_sentencepiece(path)
    path.write_bytes(whole + b"\x12\x02\x18\x02")  # the trainer's model_type: BPE
    with pytest.raises(ValueError, match="is of model type 2 or puts blanks behind"):
        read_sentencepiece(path)
    path.write_bytes(whole + b"\x1a\x02\x28\x00")  # escape_whitespaces: false
    with pytest.raises(ValueError, match="has escape_whitespaces=false"):
        read_sentencepiece(path)
