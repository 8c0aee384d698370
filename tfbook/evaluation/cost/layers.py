"""Costs of the layers of a Transformer, from their sizes alone."""

from __future__ import annotations

from tfbook.checks import require, require_choice, require_divisible, require_positive
from tfbook.evaluation.cost.record import Cost, Workload

INDEX_SIZE = 8
# Whether the slope of an activation follows from its output, which the next map keeps
# anyway, or needs its input too.
NEEDS_INPUT = {"relu": False, "sigmoid": False, "identity": False, "gelu": True, "silu": True}
# What a norm keeps of a token: vectors, and single numbers.
KEPT_BY_NORM = {"layer_norm": (1, 2), "rms_norm": (2, 1)}


def linear_cost(
    work: Workload, *, d_in: int, d_out: int, bias: bool = True, tied: bool = False
) -> Cost:
    r"""Give the cost of a linear map: :math:`b\,n\,d_{in}\,d_{out}` multiply-adds.

    Args:
        work: what it is run on.
        d_in: width of the input.
        d_out: width of the output.
        bias: whether it adds a bias.
        tied: its table is counted elsewhere, as that of an output layer tied to the embedding.

    Returns:
        The cost. Autograd keeps the input.

    Raises:
        ValueError: a width below one.

    Example:
        >>> linear_cost(Workload(n=5), d_in=3, d_out=2).multiply_adds
        30

    Source: counted; the backward pass has two products of the same size. Chapter: 16.
    """
    require_positive("d_in", d_in)
    require_positive("d_out", d_out)
    return _of_products(
        work.tokens * d_in * d_out,
        parameters=0 if tied else d_out * (d_in + bias),
        saved_bytes=work.tokens * d_in * work.element_size,
        sequential_steps=1,
    )


def attention_cost(
    work: Workload,
    *,
    d_model: int,
    n_heads: int,
    n_kv_heads: int | None = None,
    d_head: int | None = None,
    bias: bool = True,
    causal: bool = False,
) -> Cost:
    r"""Give the cost of multi-head attention: self-attention, or cross-attention.

    .. math:: \underbrace{2\, b\, h\, d_{head}\, n_q\, n_k}_{\text{scores and values}}
              + \underbrace{2\, b\, d_{model} d_{head} (h\, n_q + h_{kv} n_k)}_{\text{projections}}

    With ``work.n_context`` it is cross-attention to so many tokens, else self-attention. All
    scores count, also those that causality hides.

    Args:
        work: what it is run on.
        d_model: width of the input, the context and the output.
        n_heads: query heads.
        n_kv_heads: key and value heads, 1 for multi-query; None means ``n_heads``.
        d_head: width of a head; None means ``d_model / n_heads``.
        bias: whether the four maps add a bias.
        causal: whether it can decode token by token, and so has a cache. The cache of
            cross-attention holds the projected context.

    Returns:
        The cost. Unfused, autograd keeps the ``n_q × n_k`` weights of every head, in half
        precision too in float32, with copies of queries, keys and values; fused, one number a
        query and head, and the backward pass computes the scores again.

    Raises:
        ValueError: widths or head counts that do not divide.

    Example:
        >>> attention_cost(Workload(n=512), d_model=512, n_heads=8).flops
        1610612736

    Source: Vaswani et al. 2017, table 1 and section 3.2.2. Chapter: 16.
    """
    if d_head is None:
        require_divisible("d_model", d_model, "n_heads", n_heads)
        d_head = d_model // n_heads
    require_positive("d_model", d_model)
    require_positive("d_head", d_head)
    kv_heads = n_heads if n_kv_heads is None else n_kv_heads
    require_divisible("n_heads", n_heads, "n_kv_heads", kv_heads)
    n_k = work.n if work.n_context is None else work.n_context
    wide, narrow = n_heads * d_head, kv_heads * d_head
    projections = 2 * work.batch * d_model * (wide * work.n + narrow * n_k)
    inputs = work.n if work.n_context is None else work.n + n_k
    kept = _kept_inside_attention(work, n_heads=n_heads, kv_heads=kv_heads, d_head=d_head)
    cached = causal or work.n_context is not None
    product = work.batch * work.n * n_k * wide
    return _of_products(
        projections + 2 * product,
        recomputed=work.fused * product,
        parameters=2 * d_model * (wide + narrow) + bias * (wide + 2 * narrow + d_model),
        saved_bytes=work.batch * inputs * d_model * work.element_size + kept,
        cache_bytes=cached * 2 * work.batch * n_k * narrow * work.element_size,
        sequential_steps=1,
        path_length=1,
    )


def _kept_inside_attention(work: Workload, *, n_heads: int, kv_heads: int, d_head: int) -> int:
    """Bytes of queries, keys, values, what softmax keeps, and the output of the heads."""
    n_k = work.n if work.n_context is None else work.n_context
    # Shared keys and values are copied for every head, but for the fused kernel: it reads them
    # again and again.
    copies = kv_heads if work.fused else n_heads
    output = work.batch * n_heads * d_head * work.n
    operands = output + 2 * work.batch * copies * d_head * n_k
    rows = work.batch * n_heads * work.n
    softmax = rows * (1 if work.fused else n_k)
    operand_size = work.element_size if work.fused else work.statistic_size
    return output * work.element_size + operands * operand_size + softmax * work.statistic_size


def feed_forward_cost(
    work: Workload,
    *,
    d_model: int,
    d_ff: int,
    activation: str = "relu",
    gated: bool = False,
    bias: bool = True,
) -> Cost:
    r"""Give the cost of a feed-forward layer: two maps, or three where a gate multiplies.

    .. math:: (2 \text{ or } 3)\; b\, n\, d_{model}\, d_{ff}

    Args:
        work: what it is run on.
        d_model: width of input and output.
        d_ff: inner width.
        activation: ``relu``, ``gelu``, ``silu``, ``sigmoid`` or ``identity``; of the gate where
            there is one.
        gated: whether a second inner vector multiplies the first (SwiGLU and its like).
        bias: whether the maps add a bias.

    Returns:
        The cost. Autograd keeps the inner vector once for ReLU, whose slope follows from its
        output, twice for GELU, and two more for a gate.

    Raises:
        ValueError: a width below one, or an unknown activation.

    Example:
        >>> feed_forward_cost(Workload(n=1), d_model=512, d_ff=2048, bias=False).parameters
        2097152

    Source: Vaswani et al. 2017, equation 2; Shazeer 2020, section 2 (gated). Chapter: 16.
    """
    require_positive("d_model", d_model)
    require_positive("d_ff", d_ff)
    require_choice("activation", activation, NEEDS_INPUT)
    maps = 3 if gated else 2
    inner_vectors = 1 + NEEDS_INPUT[activation] + 2 * gated
    kept = d_model + inner_vectors * d_ff
    return _of_products(
        maps * work.tokens * d_model * d_ff,
        parameters=maps * d_model * d_ff + bias * ((maps - 1) * d_ff + d_model),
        saved_bytes=work.tokens * kept * work.element_size,
        sequential_steps=1,
    )


def norm_cost(work: Workload, *, d_model: int, norm: str = "layer_norm", bias: bool = True) -> Cost:
    """Give the cost of a norm: parameters and what autograd keeps.

    Args:
        work: what it is run on.
        d_model: width.
        norm: ``layer_norm`` or ``rms_norm``.
        bias: whether a layer norm adds one.

    Returns:
        The cost. Autograd keeps the input with a mean and a deviation a token; for
        ``rms_norm``, which PyTorch composes of steps on a CPU, input and scaled input.

    Raises:
        ValueError: ``d_model`` is below one, or an unknown norm.

    Example:
        >>> norm_cost(Workload(n=1), d_model=512).parameters
        1024

    Source: Ba et al. 2016; Zhang and Sennrich 2019. Chapter: 16.
    """
    require_positive("d_model", d_model)
    require_choice("norm", norm, KEPT_BY_NORM)
    vectors, statistics = KEPT_BY_NORM[norm]
    kept = vectors * d_model * work.element_size + statistics * work.statistic_size
    with_bias = bias and norm == "layer_norm"
    return Cost(parameters=d_model * (1 + with_bias), saved_bytes=work.tokens * kept)


def embedding_cost(
    work: Workload, *, vocab_size: int, d_model: int, learned_positions: int = 0
) -> Cost:
    """Give the cost of looking tokens, and perhaps positions, up.

    Args:
        work: what it is run on.
        vocab_size: tokens in the vocabulary.
        d_model: width.
        learned_positions: rows of a learned table of positions, 0 for none.

    Returns:
        The cost. There is no product; autograd keeps the indices.

    Raises:
        ValueError: a size below one, or fewer than no positions.

    Example:
        >>> embedding_cost(Workload(n=5), vocab_size=11, d_model=3).parameters
        33

    Source: counted. Chapter: 16.
    """
    require_positive("vocab_size", vocab_size)
    require_positive("d_model", d_model)
    require(
        learned_positions >= 0,
        f"learned_positions={learned_positions} must be at least 0; 0 means no table",
    )
    indices = work.tokens + (work.n if learned_positions else 0)
    return Cost(
        parameters=(vocab_size + learned_positions) * d_model, saved_bytes=INDEX_SIZE * indices
    )


def _of_products(multiply_adds: int, recomputed: int = 0, **rest: int) -> Cost:
    """A cost whose backward pass has two products of the size of each forward product."""
    training = 3 * multiply_adds + recomputed
    return Cost(multiply_adds=multiply_adds, training_multiply_adds=training, **rest)
