import pytest
import torch
from torch import Tensor

from tfbook.attention import ContextCache, KVCache


def cache(max_length: int = 5) -> KVCache:
    return KVCache(n_layers=2, batch=3, n_kv_heads=7, max_length=max_length, d_head=11)


def new(n: int = 1, *, batch: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 7, n, 11), torch.randn(batch, 7, n, 11)


def test_a_layer_gives_back_all_that_was_written() -> None:
    kept = cache()
    first, second = new(2), new(3)
    kept.layer(1).keys_values(lambda: first)
    kept.advance(2)
    keys, values = kept.layer(1).keys_values(lambda: second)
    assert keys.equal(torch.cat([first[0], second[0]], dim=2))
    assert values.equal(torch.cat([first[1], second[1]], dim=2))
    assert (kept.keys[0] == 0).all()
    assert (kept.length, kept.max_length) == (2, 5)


def test_only_the_model_advances() -> None:
    kept = cache(max_length=1)
    for index in range(2):
        kept.layer(index).keys_values(new)
    assert kept.length == 0


def test_reorder_takes_rows_and_leaves_contexts() -> None:
    kept = cache()
    keys, values = new(2)
    context = new(4)
    kept.context(0).keys_values(lambda: context)
    kept.layer(0).keys_values(lambda: (keys, values))
    kept.advance(2)
    kept.reorder(torch.tensor([2, 2, 0]))
    assert kept.keys[0, :, :, :2].equal(keys[[2, 2, 0]])
    assert kept.values[0, :, :, :2].equal(values[[2, 2, 0]])
    assert kept.context(0).keys_values(new) is context


def test_a_context_is_projected_once_for_each_layer() -> None:
    kept = cache()
    first = kept.context(0).keys_values(new)
    assert kept.context(0).keys_values(new) is first
    assert kept.context(1).keys_values(new) is not first
    assert ContextCache().keys_values(new) is not first


def test_size_in_bytes() -> None:
    assert cache().n_bytes == 2 * 2 * 3 * 7 * 5 * 11 * 4
    half = KVCache(n_layers=1, batch=1, n_kv_heads=1, max_length=1, d_head=1, dtype=torch.bfloat16)
    assert half.n_bytes == 4


@pytest.mark.parametrize("name", ["n_layers", "batch", "n_kv_heads", "max_length", "d_head"])
def test_every_size_is_positive(name: str) -> None:
    sizes = dict(n_layers=1, batch=1, n_kv_heads=1, max_length=1, d_head=1)
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        KVCache(**{**sizes, name: 0})


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_such_layer(index: int) -> None:
    with pytest.raises(ValueError, match=rf"index={index} must lie in \[0, n_layers=2\)"):
        cache().layer(index)
    with pytest.raises(ValueError, match=rf"index={index} must lie in \[0, n_layers=2\)"):
        cache().context(index)


def test_a_full_cache_says_so_and_keeps_what_it_has() -> None:
    kept = cache(max_length=3)
    first = new(2)
    kept.layer(0).keys_values(lambda: first)
    kept.advance(2)
    message = "holds 2 of max_length=3 tokens and has no room for 2 more; make it with a larger"
    with pytest.raises(RuntimeError, match=message):
        kept.layer(0).keys_values(lambda: new(2))
    with pytest.raises(RuntimeError, match=message):
        kept.advance(2)
    assert kept.length == 2
    assert kept.keys[0, :, :, :2].equal(first[0])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="n_tokens=-1 must be at least 1"):
        cache().advance(-1)
    message = r"keys have shape \(1, 7, 1, 11\), but the cache was made for .* \(3, 7, n, 11\)"
    with pytest.raises(ValueError, match=message):
        cache().layer(0).keys_values(lambda: new(batch=1))


@pytest.mark.parametrize("rows", [torch.tensor([0]), torch.tensor([True] * 3), torch.zeros(3)])
def test_reorder_needs_one_row_for_each(rows: Tensor) -> None:
    with pytest.raises(ValueError, match=r"but must be integers of shape \(3,\)"):
        cache().reorder(rows)


def test_positions_of_the_keys_are_kept() -> None:
    cache = KVCache(n_layers=1, batch=2, n_kv_heads=1, max_length=6, d_head=2)
    first, second = torch.tensor([0, 1]), torch.tensor([[2], [5]])
    assert cache.key_positions(first) is first
    cache.advance(2, positions=first)
    assert cache.layer(0).key_positions(torch.tensor([2])).tolist() == [0, 1, 2]
    # From the moment on that rows differ, each has positions of its own.
    assert cache.key_positions(second).tolist() == [[0, 1, 2], [0, 1, 5]]
    cache.advance(1, positions=second)
    cache.reorder(torch.tensor([1, 1]))
    assert cache.positions.tolist() == [[0, 1, 5], [0, 1, 5]]


def test_positions_must_be_given_from_the_first_token_on() -> None:
    cache = KVCache(n_layers=1, batch=1, n_kv_heads=1, max_length=6, d_head=2)
    cache.advance(2)
    with pytest.raises(RuntimeError, match="the cache holds 2 tokens without positions"):
        cache.key_positions(torch.tensor([2]))
    with pytest.raises(RuntimeError, match="the cache holds 2 tokens without positions"):
        cache.advance(1, positions=torch.tensor([2]))
