"""Learn unigram's pieces: too many at first, made likely by EM, the useless ones dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from tqdm import tqdm

from tfbook.checks import is_integer, require, require_positive
from tfbook.tokenizers.word_lattices import Floats, WordLattices

# An expected count below this drops the piece, as in sentencepiece.
TOO_RARE = 0.5
# EM goes on until there are this many times the wanted pieces; the likeliest then stay.
SURPLUS = 1.1

ScoresOf = Callable[[Floats], Floats]


def likelihood_scores(counts: Floats) -> Floats:
    r"""Give the scores under which expected counts are likeliest: EM's own M-step.

    .. math:: \log p(x) = \log c_x - \log \sum_y c_y

    With these the likelihood of the text never falls from one step to the next.

    Args:
        counts: the expected count of each piece.

    Returns:
        The scores, natural logarithms.

    Example:
        >>> np.exp(likelihood_scores(np.array([3.0, 1.0]))).round(3).tolist()
        [0.75, 0.25]

    Source: Kudo 2018, section 3.2. Chapter: 03.
    """
    # A count that underflowed to zero keeps a finite score.
    counts = np.maximum(counts, np.finfo(np.float64).tiny)
    return np.asarray(np.log(counts) - np.log(counts.sum()))


def sparse_scores(counts: Floats) -> Floats:
    r"""Give scores that make rare pieces rarer: the M-step that sentencepiece takes.

    .. math:: \log p(x) = \psi(c_x) - \psi(\textstyle\sum_y c_y)

    The digamma function :math:`\psi(c)` is about :math:`\log(c - 1/2)`: every piece loses half a
    count. This is variational Bayes with a sparse Dirichlet prior.

    Args:
        counts: the expected count of each piece, above zero.

    Returns:
        The scores, natural logarithms. Their exponentials add up to less than one.

    Example:
        >>> np.exp(sparse_scores(np.array([30.0, 1.0]))).round(3).tolist()
        [0.967, 0.018]

    Source: sentencepiece's ``unigram_model_trainer.cc``, after Liang and Klein's tutorial of
    2007. Chapter: 03.
    """
    total = torch.tensor([counts.sum()], dtype=torch.float64)
    digamma = torch.digamma(torch.from_numpy(counts)) - torch.digamma(total)
    return digamma.numpy()


def seed_pieces(
    words: Mapping[str, int], *, max_length: int = 16, n_pieces: int = 1_000_000
) -> dict[str, int]:
    """Give the letters of words, and those of their substrings that cover most of the text.

    A substring counts only when it occurs twice and can go on in two ways: ``contributio`` is
    no candidate where every one is followed by ``n``.

    Args:
        words: how often each word occurs.
        max_length: the longest candidate, in characters.
        n_pieces: the most candidates, letters included.

    Returns:
        How often each occurs: first the letters, then the candidates, by occurrences times
        length.

    Example:
        >>> seed_pieces({"abab": 1, "abc": 2})
        {'a': 4, 'b': 4, 'c': 2, 'ab': 4, 'abc': 2, 'bc': 2}

    Source: Kudo 2018, section 3.2. Chapter: 03.
    """
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for start in range(len(word)):
            for stop in range(start + 1, min(len(word), start + max_length) + 1):
                counts[word[start:stop]] += n
    redundant = {s[:-1] for s, n in counts.items() if len(s) > 2 and counts[s[:-1]] == n}
    letters = sorted((s for s in counts if len(s) == 1), key=lambda s: (-counts[s], s))
    others = [s for s, n in counts.items() if len(s) > 1 and n > 1 and s not in redundant]
    others.sort(key=lambda s: (-counts[s] * len(s), s))
    chosen = [*letters, *others[: max(0, n_pieces - len(letters))]]
    return {piece: counts[piece] for piece in chosen}


def train_unigram(
    words: Iterable[str],
    *,
    vocab_size: int,
    specials: Sequence[str] = (),
    max_length: int = 16,
    shrink: float = 0.75,
    n_steps: int = 2,
    scores_of: ScoresOf = sparse_scores,
    progress: bool = False,
) -> list[tuple[str, float]]:
    """Learn pieces and their scores from words.

    In turn: ``n_steps`` steps of EM; then, for each piece, what the likelihood would lose if its
    best replacement by other pieces took over, and the pieces that lose least are dropped.
    Letters always stay.

    Args:
        words: the words of the text, each as often as it occurs, with ``▁`` in front.
        vocab_size: the most pieces, ``specials`` included.
        specials: tokens that come first, with the score 0, and are never found in the words.
        max_length: of a piece, in characters.
        shrink: the share of the pieces that stays each time.
        n_steps: of EM between two droppings.
        scores_of: the M-step, from expected counts to scores.
        progress: show a progress bar.

    Returns:
        Pieces and scores: the specials, then the others, the likeliest first.

    Raises:
        ValueError: there are no words, ``max_length`` or ``n_steps`` is below 1, or ``shrink``
            does not lie between 0 and 1.
        ValueError: ``vocab_size`` is no integer, or below the number of specials and letters.

    Example:
        >>> pieces = train_unigram(["▁low", "▁lower", "▁lowest"] * 9, vocab_size=10)
        >>> [piece for piece, _ in pieces][:2]
        ['▁low', '▁lowest']

    Source: Kudo 2018, section 3.2, with sentencepiece's choices. Chapter: 03.
    """
    require_positive("max_length", max_length)
    require_positive("n_steps", n_steps)
    require(0 < shrink < 1, f"shrink={shrink} must lie between 0 and 1; use 0.75")
    counts = Counter(words)
    counts.pop("", None)
    require(bool(counts), "there is no word to learn from; pass texts that hold words")
    n_letters = len({letter for word in counts for letter in word})
    least = len(specials) + n_letters
    require(
        is_integer(vocab_size) and least <= vocab_size,
        f"vocab_size={vocab_size!r} must be an integer of at least {least}, the {len(specials)} "
        f"specials and the {n_letters} letters of the words; give a larger one, or normalise the "
        "texts",
    )
    n_learned = vocab_size - len(specials)
    seeds = seed_pieces(counts, max_length=max_length)
    state = _State(counts, seeds, scores_of)
    wanted = max(n_letters, int(n_learned * SURPLUS))
    with tqdm(total=max(0, len(seeds) - wanted), disable=not progress, unit="piece") as bar:
        while True:
            for _ in range(n_steps):
                state.step()
            if len(state.pieces) <= wanted:
                break
            state.prune(max(wanted, int(len(state.pieces) * shrink)))
            bar.update(len(seeds) - len(state.pieces) - bar.n)
    return [*((token, 0.0) for token in specials), *state.likeliest(n_learned)]


class _State:
    """The pieces of the moment, their scores, and the graphs of all words made of them."""

    def __init__(self, words: Mapping[str, int], pieces: Mapping[str, int], scores_of: ScoresOf):
        numbers = {piece: number for number, piece in enumerate(pieces)}
        self.pieces = np.array(list(pieces), dtype=object)
        self.letters = np.array([len(piece) == 1 for piece in pieces])
        self._scores_of = scores_of
        self._weights = np.array(list(words.values()), dtype=np.float64)
        self._words = WordLattices(list(words), numbers)
        # Each piece as a word that is to be cut into others.
        self._others = WordLattices(list(pieces), numbers, whole=False)
        self._alive = np.arange(len(pieces))
        self.scores = likelihood_scores(np.array([n * len(p) for p, n in pieces.items()], float))

    def step(self) -> None:
        counts, _ = self._words.expected_counts(self.scores, self._weights)
        keep = self.letters | (counts >= TOO_RARE)
        self._keep(keep)
        self.scores = self._scores_of(np.maximum(counts[keep], TOO_RARE))

    def prune(self, size: int) -> None:
        """Keep ``size`` pieces: the letters, and those without which the text is less likely."""
        loss = self._losses()
        loss[self.letters] = np.inf
        order = np.argsort(-loss, kind="stable")
        keep = np.zeros(len(loss), dtype=bool)
        keep[order[:size]] = True
        # Pieces that the best ways do not use cost nothing: they go, however few remain.
        self._keep(keep & (loss > -np.inf))

    def likeliest(self, size: int) -> list[tuple[str, float]]:
        first = np.where(self.letters, np.inf, self.scores)
        chosen = np.argsort(-first, kind="stable")[:size]
        chosen = chosen[np.argsort(-self.scores[chosen], kind="stable")]
        return [(str(self.pieces[i]), float(self.scores[i])) for i in chosen]

    def _losses(self) -> Floats:
        n = len(self.pieces)
        used = np.zeros(n)
        for words, pieces in self._words.best(self.scores)[1]:
            used += np.bincount(pieces, self._weights[words], minlength=n)
        number = np.full(len(self._others._last_node), -1)
        number[self._alive] = np.arange(n)
        best, ways = self._others.best(self.scores)
        n_others, log_others = np.zeros(n), np.zeros(n)
        with np.errstate(divide="ignore", invalid="ignore"):
            for words, pieces in ways:
                mine = number[words]
                real = mine >= 0
                mine, pieces = mine[real], pieces[real]
                n_others[mine] += 1
                log_others[mine] += np.log(used[pieces] + used[mine])
            total = used.sum()
            log_total = np.log(total + used * (n_others - 1))
            loss = used * (np.log(used) - np.log(total) - log_others + n_others * log_total)
        # A piece that is itself cut on the best way is never used.
        loss[(used == 0) | (best[self._alive] > self.scores)] = -np.inf
        return loss

    def _keep(self, keep: np.ndarray) -> None:
        if keep.all():
            return
        self._words, self._others = self._words.kept(keep), self._others.kept(keep)
        self.pieces, self.letters = self.pieces[keep], self.letters[keep]
        self.scores, self._alive = self.scores[keep], self._alive[keep]
