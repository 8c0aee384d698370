"""Byte-level BPE from the files that OpenAI and others publish."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tfbook.checks import require
from tfbook.data.wheels import WheelFile, fetch
from tfbook.tokenizers.bpe import BPETokenizer
from tfbook.tokenizers.bpe_json import read_merges
from tfbook.tokenizers.byte_level import GPT2_PATTERN, byte_characters
from tfbook.tokenizers.json_format import read_text_file, read_vocab
from tfbook.tokenizers.merging import Pair, merge
from tfbook.tokenizers.special_tokens import AddedToken

#: GPT-2's ranks, MIT, as OpenAI's Whisper ships them (openai-whisper 20250625 has the same file,
#: in a source archive). The package is named for another model that shares the vocabulary.
GPT2_RANKS = WheelFile(
    package="mlx-whisper",
    version="0.4.3",
    member="mlx_whisper/assets/gpt2.tiktoken",
    sha256="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    size=835_554,
    download_size=890_544,
)
END_OF_TEXT = "<|endoftext|>"


def gpt2_tokenizer() -> BPETokenizer:
    """Give GPT-2's tokenizer: 256 bytes, 50,000 merges and the end of text, which is every role.

    Returns:
        The tokenizer, with 50,257 tokens.

    Raises:
        RuntimeError: the file of ranks is neither installed nor cached and cannot be fetched.

    Example:
        >>> gpt2_tokenizer().encode("Attention is all you need<|endoftext|>")
        [8086, 1463, 318, 477, 345, 761, 50256]

    Source: Radford et al. (2019), section 2.2. Chapter: 03.
    """
    return read_tiktoken(fetch(GPT2_RANKS), special_tokens=[END_OF_TEXT])


def read_tiktoken(
    path: str | os.PathLike[str],
    *,
    pattern: str = GPT2_PATTERN,
    special_tokens: list[str] | tuple[str, ...] = (),
) -> BPETokenizer:
    """Read a file of ranks: a line for each token, its bytes in base64 and its rank.

    Such a file has no merges. Each token of several bytes was made by one: the last two parts
    that the merges of lower ranks leave of it.

    Args:
        path: the ``.tiktoken`` file.
        pattern: cuts text into words.
        special_tokens: they take the ids that follow; the last is the end of text, and so the
            ``pad_id, bos_id, eos_id`` and ``unk_id``.

    Returns:
        The tokenizer, whose ids are the ranks.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is damaged, a rank is missing or doubled, or a token is not made of two
            others.

    Example:
        >>> made = read_tiktoken(fetch(GPT2_RANKS), special_tokens=["<end>"])
        >>> made.encode("to be<end>")
        [1462, 307, 50256]

    Source: the `tiktoken` library. Chapter: 03.
    """
    tokens = _read_ranks(path)
    letters = byte_characters()
    spelled = ["".join([letters[byte] for byte in token]) for token in tokens]
    vocab = {token: index for index, token in enumerate(spelled)}
    merges = [(spelled[left], spelled[right]) for left, right in _recovered(tokens)]
    return _with_specials(vocab, merges, pattern, special_tokens)


def read_vocab_and_merges(
    vocab_path: str | os.PathLike[str],
    merges_path: str | os.PathLike[str],
    *,
    pattern: str = GPT2_PATTERN,
    special_tokens: list[str] | tuple[str, ...] = (END_OF_TEXT,),
) -> BPETokenizer:
    """Read GPT-2's own two files, ``vocab.json`` (or ``encoder.json``) and ``merges.txt``.

    Args:
        vocab_path: a JSON object of ids by token.
        merges_path: a merge a line, in the order of their ranks; a first line ``#version`` is
            passed over. (OpenAI's ``vocab.bpe`` is this file.)
        pattern: cuts text into words.
        special_tokens: tokens of the vocabulary, or that follow it; the last has every role.

    Returns:
        The tokenizer.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is damaged, or the two do not fit together.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "vocab.json").write_text('{"t": 0, "o": 1, "to": 2}')
        >>> _ = (folder / "merges.txt").write_text("#version: 0.2\\nt o\\n")
        >>> read_vocab_and_merges(folder / "vocab.json", folder / "merges.txt").encode("too")
        [2, 1]

    Source: OpenAI's encoder of GPT-2. Chapter: 03.
    """
    try:
        vocab = read_vocab({"vocab": json.loads(read_text_file(vocab_path))})
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{vocab_path} is not JSON ({error}): it is foreign or cut off; give GPT-2's vocab.json"
        ) from error
    lines = read_text_file(merges_path).split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    merges = read_merges([line.rstrip("\r") for line in lines if line.strip()])
    return _with_specials(vocab, merges, pattern, special_tokens)


def _with_specials(
    vocab: Mapping[str, int],
    merges: list[tuple[str, str]],
    pattern: str,
    special_tokens: list[str] | tuple[str, ...],
) -> BPETokenizer:
    new = [token for token in special_tokens if token not in vocab]
    ids = {**vocab, **{token: index for index, token in enumerate(new, start=len(vocab))}}
    added = [AddedToken(content=token, id=ids[token]) for token in special_tokens]
    end = added[-1].id if added else None
    return BPETokenizer(
        vocab=ids,
        merges=merges,
        pattern=pattern,
        added_tokens=added,
        pad_id=end,
        bos_id=end,
        eos_id=end,
        unk_id=end,
    )


def _read_ranks(path: str | os.PathLike[str]) -> list[bytes]:
    """Give the tokens' bytes in the order of their ranks."""
    found: dict[int, bytes] = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            found[int(rank)] = base64.b64decode(token, validate=True)
        except (ValueError, binascii.Error) as error:
            raise ValueError(
                f"{path}, line {number} is {line!r:.60}, but must be a token in base64 and its "
                "rank; the file is damaged or of another format"
            ) from error
    require(
        sorted(found) == list(range(len(found))) and len(set(found.values())) == len(found) > 0,
        f"{path} has {len(found)} ranks that are not 0..{len(found) - 1} with distinct tokens; the "
        "file is cut off or damaged, fetch it anew",
    )
    return [found[rank] for rank in range(len(found))]


def _recovered(tokens: list[bytes]) -> list[Pair]:
    """Give, in the order of ranks, the pair of ids that each token of several bytes is made of."""
    ids = {token: rank for rank, token in enumerate(tokens)}
    ranks: dict[Pair, int] = {}
    for rank, token in enumerate(tokens):
        if len(token) == 1:
            continue
        bytes_of = [ids.get(token[at : at + 1]) for at in range(len(token))]
        # The rank is the id of what the merge makes, so that the list of ids serves as the map.
        parts = merge([index for index in bytes_of if index is not None], ranks, range(len(tokens)))
        require(
            len(parts) == 2 and None not in bytes_of,
            f"the token {token!r} of rank {rank} is not made of two tokens of lower rank; the file "
            "is no table of byte-pair ranks",
        )
        ranks[parts[0], parts[1]] = rank
    return list(ranks)
