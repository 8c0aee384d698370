"""Costs of what attention is compared with: recurrence and convolution."""

from __future__ import annotations

from collections.abc import Sequence

from tfbook.checks import require, require_positive
from tfbook.evaluation.cost.record import Cost, Workload

# Numbers that autograd keeps for a step and a hidden feature: gates, tanh of the cell, last
# hidden state and last cell; for the GRU, what `torch.nn.GRUCell` keeps of its three parts.
KEPT_A_STEP = 7


def lstm_cost(work: Workload, *, d_input: int, d_hidden: int) -> Cost:
    r"""Give the cost of an LSTM that steps over the sequence.

    .. math:: 4\, b\, n\, d_{hidden} (d_{input} + d_{hidden})

    Args:
        work: what it is run on.
        d_input: width of the input.
        d_hidden: width of the hidden state and of the cell.

    Returns:
        The cost of ``torch.nn.LSTMCell`` at every token; ``torch.nn.LSTM`` multiplies the same,
        and may keep other things. Its cache is its state, which does not grow.

    Raises:
        ValueError: a width below one.

    Example:
        >>> lstm_cost(Workload(n=100), d_input=512, d_hidden=512).path_length
        100

    Source: Vaswani et al. 2017, table 1; Hochreiter and Schmidhuber 1997. Chapter: 16.
    """
    return _recurrent(work, d_input=d_input, d_hidden=d_hidden, parts=4, states=2)


def gru_cost(work: Workload, *, d_input: int, d_hidden: int) -> Cost:
    r"""Give the cost of a gated recurrent unit that steps over the sequence.

    .. math:: 3\, b\, n\, d_{hidden} (d_{input} + d_{hidden})

    Args:
        work: what it is run on.
        d_input: width of the input.
        d_hidden: width of the hidden state.

    Returns:
        The cost of ``torch.nn.GRUCell`` at every token, and of ``torch.nn.GRU``.

    Raises:
        ValueError: a width below one.

    Example:
        >>> gru_cost(Workload(n=100), d_input=512, d_hidden=512).sequential_steps
        100

    Source: Vaswani et al. 2017, table 1; Cho et al. 2014. Chapter: 16.
    """
    return _recurrent(work, d_input=d_input, d_hidden=d_hidden, parts=3, states=1)


def _recurrent(work: Workload, *, d_input: int, d_hidden: int, parts: int, states: int) -> Cost:
    require_positive("d_input", d_input)
    require_positive("d_hidden", d_hidden)
    wide = parts * d_hidden
    products = work.tokens * wide * (d_input + d_hidden)
    # Nothing depends on what the first state was made of: its gradient is not computed.
    first = work.batch * wide * d_hidden
    kept = work.tokens * (d_input + KEPT_A_STEP * d_hidden)
    return Cost(
        parameters=wide * (d_input + d_hidden + 2),
        multiply_adds=products,
        training_multiply_adds=3 * products - first,
        saved_bytes=kept * work.element_size,
        cache_bytes=states * work.batch * d_hidden * work.element_size,
        sequential_steps=work.n,
        path_length=work.n,
    )


def convolution_cost(
    work: Workload,
    *,
    d_model: int,
    kernel: int,
    dilations: Sequence[int] = (1,),
    causal: bool = False,
    bias: bool = True,
) -> Cost:
    r"""Give the cost of convolutions over the sequence, one layer for each dilation.

    .. math:: b\, n\, k\, d_{model}^2 \quad\text{a layer}

    Positions that are ``n`` apart need about ``n / (kernel - 1)`` causal layers of dilation 1,
    and as many as the logarithm of ``n`` where dilations grow by a factor: with
    :math:`1, k, k^2, …` if causal, by up to :math:`(k + 1) / 2` on both sides. (On both sides
    larger factors leave gaps near the ends.) The output is as long as the input, and nothing
    stands between the layers.

    Args:
        work: what it is run on.
        d_model: channels of input and output.
        kernel: positions that a layer reads; odd unless causal.
        dilations: distance between these positions, one number a layer.
        causal: whether a position reads only itself and earlier ones. Then padding is added on
            the left, which autograd keeps with the input, and decoding caches the inputs that
            later tokens read.
        bias: whether the layers add a bias.

    Returns:
        The cost of ``torch.nn.Conv1d`` layers. ``path_length`` is the number of layers, from
        the first, after which every position has reached all others (if causal, all later
        ones), or None if the stack is too short for that.

    Raises:
        ValueError: a size or dilation below one, no dilation, or an even kernel on both sides.

    Example:
        >>> work = Workload(n=27)
        >>> convolution_cost(
        ...     work, d_model=8, kernel=3, dilations=(1, 3, 9), causal=True).path_length
        3

    Source: Vaswani et al. 2017, table 1 and section 4; van den Oord et al. 2016, section 2.1
    (dilated). Chapter: 16.
    """
    require_positive("d_model", d_model)
    require_positive("kernel", kernel)
    require(len(dilations) > 0, "dilations=() must hold one number a layer; give (1,) for one")
    for dilation in dilations:
        require_positive("dilation", dilation)
    require(
        causal or kernel % 2 == 1,
        f"kernel={kernel} must be odd to read as far to the left as to the right; use "
        f"{kernel + 1}, or causal=True",
    )
    products = len(dilations) * work.tokens * kernel * d_model**2
    padding = causal * (kernel - 1) * sum(dilations)
    feature = work.batch * d_model * work.element_size
    return Cost(
        parameters=len(dilations) * d_model * (kernel * d_model + bias),
        multiply_adds=products,
        training_multiply_adds=3 * products,
        saved_bytes=feature * (len(dilations) * work.n + padding),
        cache_bytes=feature * padding,
        sequential_steps=len(dilations),
        path_length=_layers_to_join_all(work.n, kernel, dilations, causal),
    )


def _layers_to_join_all(n: int, kernel: int, dilations: Sequence[int], causal: bool) -> int | None:
    """Count the layers until every position depends on all (if causal, all earlier) inputs."""
    reach = sum(dilations) * (kernel - 1 if causal else kernel // 2)
    if reach < n - 1:
        return None
    join = _causal_layers if causal else _two_sided_layers
    return join(n, kernel, dilations)


def _causal_layers(n: int, kernel: int, dilations: Sequence[int]) -> int | None:
    """Count layers until every distance below ``n`` is a sum of offsets, one from each layer.

    From the smallest dilation to the largest: one that is more than a step beyond the sums so
    far leaves out the next distance.
    """
    reach = 0
    for layer, newest in enumerate(dilations, start=1):
        reach += (kernel - 1) * newest
        if reach < n - 1:
            continue
        covered = 0
        for dilation in sorted(dilations[:layer]):
            if dilation > covered + 1:
                break
            covered += (kernel - 1) * dilation
        if covered >= n - 1:
            return layer
    return None


def _two_sided_layers(n: int, kernel: int, dilations: Sequence[int]) -> int | None:
    """Count layers until position ``i`` has seen input ``j``, bit ``j`` of ``seen[i]``, for all.

    Padding passes nothing on, so near the ends a path may not leave the sequence and come back.
    """
    side, everything = kernel // 2, 2**n - 1
    seen = [1 << i for i in range(n)]
    for layer, dilation in enumerate(dilations, start=1):
        below, seen = seen, [0] * n
        for offset in range(-side * dilation, (side + 1) * dilation, dilation):
            for i in range(max(0, -offset), min(n, n - offset)):
                seen[i] |= below[i + offset]
        if all(bits == everything for bits in seen):
            return layer
    return None
