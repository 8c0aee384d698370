import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import FLOATS, close, randomized
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import tfbook.positions.relative as offset_scores
from tfbook.attention import attention_weights
from tfbook.positions import ShawRelative, TransformerXLRelative

B, H, N, D_HEAD, M = 2, 3, 11, 10, 4
D = H * D_HEAD


def relative(kind: type[nn.Module], dtype: torch.dtype = torch.float32) -> nn.Module:
    """A module with weights of size 1 or so, whose bias does not vanish."""
    made = ShawRelative(D_HEAD, max_distance=M) if kind is ShawRelative else xl()
    for parameter in randomized(made, dtype).parameters():
        parameter.data *= 2
    return made


def xl() -> TransformerXLRelative:
    return TransformerXLRelative(H, D_HEAD, D)


def queries_keys(dtype: torch.dtype = torch.float32, n_q: int = N) -> tuple[Tensor, Tensor]:
    return torch.randn(B, H, n_q, D_HEAD, dtype=dtype), torch.randn(B, H, N, D_HEAD, dtype=dtype)


def code(position: int, dtype: torch.dtype) -> Tensor:
    angles = [position / 10_000 ** (2 * i / D) for i in range(D // 2)]
    return torch.tensor([f(a) for a in angles for f in (math.sin, math.cos)], dtype=dtype)


def never(positions: Tensor) -> bool:
    return False


KINDS = [TransformerXLRelative, ShawRelative]
pick, count_up = offset_scores._pick, offset_scores._count_up


# The equations, term by term


@pytest.mark.parametrize("dtype", FLOATS)
def test_transformer_xl_term_by_term(dtype: torch.dtype) -> None:
    module = relative(TransformerXLRelative, dtype)
    q, k = queries_keys(dtype, n_q=5)
    positions_q, positions_k = torch.arange(4, 9), torch.arange(N)
    w_r = module.w_r.weight.view(H, D_HEAD, D)
    expected = torch.zeros(B, H, 5, N, dtype=dtype)
    for h in range(H):
        for i, t_q in enumerate(positions_q.tolist()):
            for j, t_k in enumerate(positions_k.tolist()):
                r = w_r[h] @ code(t_q - t_k, dtype)
                b, c, d = q[:, h, i] @ r, k[:, h, j] @ module.u[h], module.v[h] @ r
                expected[:, h, i, j] = (b + c + d) / math.sqrt(D_HEAD)
    close(module(q, k, positions_q, positions_k), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_shaw_with_a_vector_for_every_pair(dtype: torch.dtype) -> None:
    """The form of equations 3 and 4, which holds n_q × n_k vectors."""
    module = relative(ShawRelative, dtype)
    q, k = queries_keys(dtype, n_q=5)
    v = torch.randn_like(k)
    positions_q, positions_k = torch.arange(4, 9), torch.arange(N)
    index = torch.tensor([[min(max(j - i, -M), M) + M for j in range(N)] for i in range(4, 9)])
    a_k, a_v = module.key_table[index], module.value_table[index]
    bias = torch.einsum("bhid,ijd->bhij", q, a_k) / math.sqrt(D_HEAD)
    close(module(q, k, positions_q, positions_k), bias)
    weights = attention_weights(q, k, bias=bias)
    expected = torch.einsum("bhij,bhijd->bhid", weights, v[:, :, None] + a_v)
    ours = weights @ v + module.add_to_values(weights, positions_q, positions_k)
    close(ours, expected)


def test_shaw_by_hand() -> None:
    module = ShawRelative(1, max_distance=1)
    module.key_table.data = torch.tensor([[10.0], [20.0], [30.0]])
    module.value_table.data = torch.tensor([[1.0], [2.0], [3.0]])
    one, positions = torch.ones(1, 1, 3, 1), torch.arange(3)
    bias = module(one, one, positions, positions)
    assert bias[0, 0].tolist() == [[20, 30, 30], [10, 20, 30], [10, 10, 20]]
    added = module.add_to_values(torch.full((1, 1, 3, 3), 0.5), positions, positions)
    assert added.flatten().tolist() == [4.0, 3.0, 2.0]


# Both


@settings(deadline=None, max_examples=10)
@given(shift=st.integers(-50, 5000), n_q=st.integers(1, N))
def test_a_bias_depends_on_offsets_alone_and_works_with_a_cache(shift: int, n_q: int) -> None:
    q, k = queries_keys(torch.float64)
    positions = torch.arange(N)
    for kind in KINDS:
        module = relative(kind, torch.float64)
        full = module(q, k, positions, positions)
        close(module(q, k, positions + shift, positions + shift), full)
        close(module(q[:, :, -n_q:], k, positions[-n_q:], positions), full[:, :, -n_q:])
    weights = full.softmax(-1)
    added = module.add_to_values(weights, positions, positions)
    cached = module.add_to_values(weights[:, :, -n_q:], positions[-n_q:], positions + 0)
    close(cached, added[:, :, -n_q:])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_q", [1, 4, N])
def test_positions_without_gaps_take_a_shifted_view(
    n_q: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view of the scores by offset gives what picking each score gives, and its gradient."""
    module, (q, k) = relative(TransformerXLRelative, dtype), queries_keys(dtype, n_q=n_q)
    one = torch.arange(N)
    cases = [(one, True), (one - 5, True), (one - torch.tensor([[0], [4]]), True)]
    cases += [(one.clamp(min=3), False)]
    picked = []
    monkeypatch.setattr(offset_scores, "_pick", lambda *a: picked.append(1) or pick(*a))
    for positions, is_view in cases:
        here = positions[..., -n_q:]
        results = []
        for shifted in (True, False):
            monkeypatch.setattr(offset_scores, "_count_up", count_up if shifted else never)
            picked.clear()
            inputs = [q.clone().requires_grad_(), k.clone().requires_grad_(), module.w_r.weight]
            bias = module(inputs[0], inputs[1], here, positions)
            assert len(picked) == (not (shifted and is_view))
            results.append([bias, *torch.autograd.grad(bias.sin().sum(), inputs)])
        for ours, theirs in zip(*results, strict=True):
            close(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_left_padding(kind: type[nn.Module]) -> None:
    """A padded sequence has, at its tokens, the bias of the sequence alone."""
    module = relative(kind)
    q, k = queries_keys()
    lengths = torch.tensor([N, 6])
    positions = (torch.arange(N) - (N - lengths)[:, None]).clamp(min=0)
    bias = module(q, k, positions, positions)
    for row, n in enumerate(lengths.tolist()):
        q_row, k_row = q[row : row + 1, :, -n:], k[row : row + 1, :, -n:]
        alone = module(q_row, k_row, torch.arange(n), torch.arange(n))
        close(bias[row : row + 1, :, -n:, -n:], alone)
    close(module(q[:, :, -1:], k, positions[:, -1:], positions), bias[:, :, -1:])
    close(module(q, k, positions[:1].int(), torch.arange(N))[0], bias[0])
    # Each sequence has a range of offsets of its own: these differ by more than a length.
    apart = positions + torch.tensor([[0], [1000]])
    close(module(q, k, apart, positions)[:1], bias[:1])
    close(module(q, k, apart, apart), bias)


def test_left_padding_of_values() -> None:
    module, weights = relative(ShawRelative), torch.rand(B, H, N, N)
    positions = (torch.arange(N) - torch.tensor([[0], [5]])).clamp(min=0)
    added = module.add_to_values(weights, positions, positions)
    for row in range(B):
        alone = module.add_to_values(weights[row : row + 1], positions[row], positions[row])
        close(added[row : row + 1], alone)


def test_fewer_key_heads_serve_neighbours() -> None:
    module = randomized(TransformerXLRelative(6, D_HEAD, D))
    q, k = torch.randn(B, 6, N, D_HEAD), torch.randn(B, 2, N, D_HEAD)
    positions = torch.arange(N)
    each = module(q, k.repeat_interleave(3, dim=1), positions, positions)
    close(module(q, k, positions, positions), each)


@pytest.mark.parametrize("kind", KINDS)
def test_no_vector_is_made_for_every_pair(kind: type[nn.Module]) -> None:
    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            if isinstance(result, Tensor):
                self.numel = max(self.numel, result.untyped_storage().nbytes() // 4)
            return result

    n = 128
    module, positions = relative(kind), torch.arange(n)
    q = torch.randn(1, H, n, D_HEAD)
    with torch.no_grad(), Largest() as largest:
        module(q, q, positions, positions)
        if kind is ShawRelative:
            module.add_to_values(torch.rand(1, H, n, n), positions, positions)
    # Scores for all 2n - 1 offsets of every head; int64 offsets count twice.
    assert n * n * H <= largest.numel <= 2 * n * n * H


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_scores_are_summed_in_float32(kind: type[nn.Module]) -> None:
    q, k = queries_keys()
    positions = torch.arange(N)
    expected = relative(kind)(q, k, positions, positions)
    bias = relative(kind, torch.bfloat16)(q.bfloat16(), k.bfloat16(), positions, positions)
    assert bias.dtype == torch.float32
    assert (bias - expected).abs().max() < 0.02 * expected.abs().max()


def test_many_small_weights_are_not_lost_in_bfloat16() -> None:
    module = ShawRelative(1, max_distance=0).bfloat16()
    module.value_table.data.fill_(1)
    weights = torch.full((1, 1, 1, 4096), 1 / 4096, dtype=torch.bfloat16)
    added = module.add_to_values(weights, torch.tensor([4095]), torch.arange(4096))
    assert added.dtype == torch.bfloat16
    assert added.item() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_queries_keys_and_weights(kind: type[nn.Module]) -> None:
    module = relative(kind, torch.float64)
    q, k = queries_keys(torch.float64, n_q=2)
    q, k = q[:1, :, :, :].requires_grad_(), k[:1, :, :3].requires_grad_()
    positions_q, positions_k = torch.tensor([1, 2]), torch.arange(3)
    assert torch.autograd.gradcheck(lambda q, k: module(q, k, positions_q, positions_k), (q, k))
    module(q, k, positions_q, positions_k).square().sum().backward()
    unused = ["value_table"] if kind is ShawRelative else []
    assert [name for name, p in module.named_parameters() if p.grad is None] == unused
    if kind is ShawRelative:
        weights = torch.rand(1, H, 2, 3, dtype=torch.float64).requires_grad_()
        call = module.add_to_values
        assert torch.autograd.gradcheck(lambda w: call(w, positions_q, positions_k), (weights,))


# Bad input


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="n_heads=0 must be at least 1"):
        TransformerXLRelative(0, 4, 8)
    with pytest.raises(ValueError, match="d_model=7 must be even"):
        TransformerXLRelative(2, 4, 7)
    with pytest.raises(ValueError, match="d_head=0 must be at least 1"):
        ShawRelative(0, max_distance=3)
    with pytest.raises(ValueError, match="max_distance=-1 must be at least 0"):
        ShawRelative(4, max_distance=-1)
    keys_only, zero = ShawRelative(4, max_distance=1, values=False), torch.arange(1)
    with pytest.raises(RuntimeError, match="values=False: there are no vectors for the values"):
        keys_only.add_to_values(torch.ones(1, 1, 1, 1), zero, zero)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(q=torch.zeros(B, H, 5, 3)), r"q has shape .*, but this module was made for \(batch"),
        (dict(q=torch.zeros(B, 5, D_HEAD)), "q has shape .*, but this module was made for"),
        (dict(k=torch.zeros(B, H, N, 3)), "q has shape .* and k .*, but must be of one batch"),
        (dict(k=torch.zeros(1, H, N, D_HEAD)), "q has shape .* and k .*, but must be of one"),
        (
            dict(positions_q=torch.arange(N)),
            r"positions_q has shape \(11,\), but must be \(5,\) or \(2, 5\); give one for every",
        ),
        (dict(positions_k=torch.zeros(3, N).long()), r"positions_k has shape \(3, 11\), but must"),
        (dict(positions_k=torch.zeros(N)), "positions_k has shape .* dtype torch.float32, but"),
    ],
)
def test_bad_calls(kind: type[nn.Module], change: dict[str, Tensor], message: str) -> None:
    q, k = queries_keys(n_q=5)
    arguments = dict(q=q, k=k, positions_q=torch.arange(5), positions_k=torch.arange(N))
    with pytest.raises(ValueError, match=message):
        relative(kind)(**{**arguments, **{name: x.to(q.device) for name, x in change.items()}})


def test_bad_heads() -> None:
    q, k = queries_keys()
    positions = torch.arange(N)
    with pytest.raises(ValueError, match=r"q has shape .* made for \(batch, 3, n_q, 10\); pass n_"):
        xl()(q[:, :2], k, positions, positions)
    with pytest.raises(ValueError, match="n_heads=3 must be divisible by n_kv_heads=2; use 1 or 3"):
        xl()(q, k[:, :2], positions, positions)


def test_positions_with_gaps(device: torch.device) -> None:
    q, k = queries_keys(n_q=2)
    positions = torch.arange(N)
    if device.type == "cpu":
        with pytest.raises(
            ValueError, match=r"span 13 offsets, but so many .* have at most 12; co"
        ):
            xl()(q, k, torch.tensor([3, 5]), positions)
    # Clipped offsets need no table of those that occur.
    bias = relative(ShawRelative)(q, k, torch.tensor([3, 500]), positions)
    assert bias[:, :, 1].unique(dim=-1).shape[-1] == 1


def test_bad_weights() -> None:
    module, positions = ShawRelative(D_HEAD, max_distance=M), torch.arange(N)
    with pytest.raises(ValueError, match=r"weights has shape \(11, 11\), but must be \(batch, hea"):
        module.add_to_values(torch.ones(N, N), positions, positions)
    with pytest.raises(ValueError, match=r"positions_q has shape \(10,\), but must be \(11,\)"):
        module.add_to_values(torch.ones(B, H, N, N), positions[1:], positions)
