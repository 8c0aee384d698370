"""The loop that ``generate`` and ``stream`` share: one token for every row at each step."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from tfbook.generation.choosing import Choice, Chosen
from tfbook.generation.ends import Ends
from tfbook.generation.next_token import NextToken
from tfbook.generation.text_pieces import TextPieces

#: Waiting for a GPU at every step would leave it idle; so many steps may be too many at the end.
STEPS_BETWEEN_LOOKS = 8


class Decoding:
    """The state of a generation.

    Args:
        next_token: gives logits.
        prompt: ids of every row, ``(rows, n)``, the copies of a prompt side by side.
        copies: sequences for each prompt.
        choice: of the tokens.
        ends: of the sequences.
        max_new_tokens: most steps.
        with_text: whether every step tells the text of its tokens.

    Chapter: 23.
    """

    def __init__(
        self,
        next_token: NextToken,
        prompt: Int[Tensor, "rows n"],
        *,
        copies: int,
        choice: Choice,
        ends: Ends,
        max_new_tokens: int,
        with_text: bool,
    ) -> None:
        self._next_token, self._choice, self._copies = next_token, choice, copies
        rows, self._n_prompt = prompt.shape
        written = prompt.new_full((rows, max_new_tokens), ends.pad_id)
        self._ids = torch.cat([prompt, written], dim=1)
        self._max_new_tokens, self._ends = max_new_tokens, ends
        self._eos = None
        if ends.eos_ids:
            self._eos = torch.tensor(ends.eos_ids, device=prompt.device)
        self.n_steps = 0
        self.ended = torch.zeros(rows, dtype=torch.bool, device=prompt.device)
        self._lengths = torch.zeros(rows, dtype=torch.int64, device=prompt.device)
        self.pieces: list[TextPieces] = []
        if ends.tokenizer is not None and (ends.stop or with_text):
            self.pieces = [TextPieces(ends.tokenizer, stop=ends.stop) for _ in range(rows)]
        self.texts, self._whole = [""] * rows, [""] * rows
        looks_always = prompt.device.type == "cpu" or bool(self.pieces)
        self._period = 1 if looks_always else STEPS_BETWEEN_LOOKS

    @property
    def new_ids(self) -> Int[Tensor, "rows n"]:
        """The tokens written so far, ``(rows, n)``."""
        return self._ids[:, self._n_prompt : self._n_prompt + self.n_steps]

    @property
    def lengths(self) -> Int[Tensor, "rows"]:
        """Tokens of each row so far, ``(rows,)``."""
        if self._eos is None and not self.pieces:
            return torch.full_like(self._lengths, self.n_steps)
        return self._lengths

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to write."""
        if self.n_steps >= self._max_new_tokens:
            return True
        if self._eos is None and not self.pieces:
            return False
        return self.n_steps % self._period == 0 and bool(self.ended.all())

    def step(self) -> Chosen:
        """Write one token in every row that has not ended, and padding in the others.

        Returns:
            The tokens; ``texts`` then holds what each row can show of them.
        """
        at = self._n_prompt + self.n_steps
        so_far = self._ids[:, :at]
        if self.n_steps == 0:
            logits = self._next_token.first(copies=self._copies)
        else:
            logits = self._next_token.after(so_far)
        chosen = self._choice(so_far, logits)
        self._ids[:, at] = chosen.ids
        self.n_steps += 1
        if self._eos is not None or self.pieces:
            self._mark_ends(at)
        return chosen

    def _mark_ends(self, at: int) -> None:
        token = self._ids[:, at]
        token.masked_fill_(self.ended, self._ends.pad_id)
        self._lengths += ~self.ended
        before = self.ended
        if self._eos is not None:
            self.ended = before | (token[:, None] == self._eos).any(dim=1)
        if self.pieces:
            self._read(token.tolist(), before.tolist(), self.ended.tolist())

    def _read(self, tokens: list[int], before: list[bool], ended: list[bool]) -> None:
        last = self.n_steps == self._max_new_tokens
        for row, pieces in enumerate(self.pieces):
            self.texts[row] = ""
            if before[row]:
                continue
            text = "" if ended[row] else pieces.push(tokens[row])
            if pieces.stopped_by is not None:
                self.ended[row] = True
            elif ended[row] or last:
                text += pieces.flush()
            self.texts[row] = text
            self._whole[row] += text

    def stopped_by(self) -> tuple[int | str | None, ...]:
        """Say what ended each row: an end token's id, a stop string, or None for the length."""
        strings = [p.stopped_by for p in self.pieces] or [None] * len(self.ended)
        reasons: list[int | str | None] = []
        for row, string in enumerate(strings):
            reasons.append(self._last(row) if string is None and self.ended[row] else string)
        return tuple(reasons)

    def whole_texts(self) -> tuple[str, ...] | None:
        """Give the text of each row; None without a tokenizer."""
        if self._ends.tokenizer is None:
            return None
        if self.pieces:
            return tuple(self._whole)
        texts = []
        for row, length in enumerate(self.lengths.tolist()):
            ids = self.new_ids[row, : length - bool(self.ended[row])].tolist()
            texts.append("".join(self._ends.tokenizer.decode(ids)))
        return tuple(texts)

    def _last(self, row: int) -> int:
        return int(self.new_ids[row, self.lengths[row] - 1])
