import re

import pytest
import torch
from torch import Tensor

from tfbook.attention import ContextCache, KVCache
from tfbook.attention.cache_rows import read_rows


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


@pytest.mark.parametrize("row", [3, -1])
def test_reorder_needs_rows_that_are_there(row: int) -> None:
    kept = cache()
    pair = new(2)
    kept.layer(0).keys_values(lambda: pair)
    kept.advance(2)
    with pytest.raises(ValueError, match=rf"rows=\[0, {row}, 2\] must lie in \[0, batch=3\)"):
        kept.reorder(torch.tensor([0, row, 2]))
    assert kept.keys[0, :, :, :2].equal(pair[0])
    with pytest.raises(ValueError, match=r"rows=\[0, 1, 2\] is of type list, .* torch.tensor\("):
        kept.reorder([0, 1, 2])  # type: ignore[arg-type]
    assert read_rows(torch.tensor([2, 2, 0], dtype=torch.int32), 3) == [2, 2, 0]
    with pytest.raises(
        ValueError, match=r"must lie in \[0, batch=2\); give every row of the cache"
    ):
        read_rows(torch.tensor([0, 2]), 2)


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


def lengths(*values: int) -> Tensor:
    return torch.tensor(values)


def test_a_window_bounds_the_memory_but_not_the_length() -> None:
    kept = KVCache(
        n_layers=1, batch=1, n_kv_heads=2, max_length=10_000, d_head=3, window=5, spare=2
    )
    assert kept.n_bytes == 2 * 2 * 7 * 3 * 4
    everything = torch.randn(1, 2, 40, 3)
    for start in range(40):
        new = everything[:, :, start : start + 1]
        keys, _ = kept.layer(0).keys_values(lambda new=new: (new, -new))
        mask = kept.mask(1)
        seen = keys if mask is None else keys[:, :, mask[0]]
        first = max(0, start - 4)
        assert sorted(seen.flatten().tolist()) == sorted(
            everything[:, :, first : start + 1].flatten().tolist()
        )
        kept.advance(1)
    assert (kept.length, kept.keys.shape[3]) == (40, 7)


def test_steps_write_in_place_and_give_views() -> None:
    for window in (None, 3):
        kept = KVCache(n_layers=1, batch=2, n_kv_heads=1, max_length=9, d_head=2, window=window)
        storage = kept.both.untyped_storage()
        for _ in range(9):
            pair = torch.randn(2, 1, 1, 2), torch.randn(2, 1, 1, 2)
            keys, values = kept.layer(0).keys_values(lambda pair=pair: pair)
            kept.advance(1, positions=kept.next_positions(1))
            assert (
                keys.untyped_storage()._cdata
                == storage._cdata
                == kept.keys.untyped_storage()._cdata
            )
            assert values.untyped_storage()._cdata == storage._cdata


@pytest.mark.parametrize("window", [None, 3])
def test_repeat_lets_sequences_of_one_prompt_part(window: int | None) -> None:
    kept = KVCache(
        n_layers=2,
        batch=2,
        n_kv_heads=7,
        max_length=9,
        d_head=11,
        window=window,
        padding=lengths(0, 2),
    )
    pair = new(4, batch=2)
    for index in range(2):
        kept.layer(index).keys_values(lambda: pair)
    kept.context(1).keys_values(lambda: new(2, batch=2))
    kept.advance(4, positions=kept.next_positions(4))
    twice = kept.repeat(2)
    assert (twice.batch, twice.length, twice.max_length, twice.window) == (4, 4, 9, window)
    assert twice.padding.tolist() == [0, 0, 2, 2]
    assert twice.positions.equal(kept.positions[[0, 0, 1, 1]])
    assert twice.keys.equal(kept.keys[:, [0, 0, 1, 1]])
    assert twice.values.equal(kept.values[:, [0, 0, 1, 1]])
    repeated = twice.context(1).keys_values(new)[0]
    assert repeated.equal(kept.context(1).keys_values(new)[0][[0, 0, 1, 1]])
    assert twice.context(0).keys_values(lambda: pair) is pair  # nothing was kept there
    twice.both.fill_(0.0)
    assert kept.keys.abs().sum() > 0
    with pytest.raises(ValueError, match="copies=0 must be at least 1"):
        kept.repeat(0)
    with pytest.raises(ValueError, match="copies=-1 must be at least 1"):
        kept.context(1).repeat(-1)


def test_crop_forgets_the_newest() -> None:
    kept = cache()
    first, second, third = new(2), new(2), new(1)
    for pair in (first, second):
        kept.layer(0).keys_values(lambda pair=pair: pair)
        kept.advance(2, positions=kept.next_positions(2))
    kept.crop(1)
    keys, _ = kept.layer(0).keys_values(lambda: third)
    assert keys.equal(torch.cat([first[0][:, :, :1], third[0]], dim=2))
    assert kept.key_positions(lengths(1)).tolist() == [0, 1]
    kept.crop(0)
    assert (kept.length, kept.positions.tolist()) == (0, [])
    with pytest.raises(ValueError, match=r"length=1 must lie in \[0, 0\], what the cache holds"):
        kept.crop(1)
    with pytest.raises(ValueError, match=r"length=-1 must lie in \[0, 0\]"):
        kept.crop(-1)
    for length in (0.0, "0", None, True, torch.tensor(0.0)):
        with pytest.raises(
            ValueError, match=f"length={re.escape(repr(length))} must be an integer"
        ):
            kept.crop(length)  # type: ignore[arg-type]


def test_crop_reaches_as_far_as_the_spare() -> None:
    def ring(spare: int) -> KVCache:
        sizes = dict(n_layers=1, batch=3, n_kv_heads=7, max_length=99, d_head=11)
        kept = KVCache(**sizes, window=3, spare=spare)
        kept.layer(0).keys_values(lambda: new(20))
        kept.advance(20)
        return kept

    kept = ring(4)
    kept.crop(15)
    with pytest.raises(RuntimeError, match="make it with a larger spare"):
        ring(4).crop(14)
    ring(0).crop(19)
    with pytest.raises(RuntimeError, match="has overwritten all before token 17"):
        ring(0).crop(18)


def test_padding_follows_its_rows() -> None:
    sizes = dict(n_layers=1, n_kv_heads=7, max_length=9, d_head=11)
    kept = KVCache(batch=3, padding=lengths(1, 0, 2), **sizes)
    assert (kept.longest_after(0), kept.next_positions(3).tolist()) == (
        0,
        [[0, 0, 1], [0, 1, 2], [0, 0, 0]],
    )
    assert kept.mask(2)[:, 0, 0].tolist() == [[False, True], [True, True], [False, False]]
    kept.layer(0).keys_values(lambda: new(4))
    kept.advance(4)
    assert kept.longest_after(1) == 5
    kept.reorder(lengths(1, 2, 2))
    assert kept.padding.tolist() == [0, 2, 2]
    assert kept.mask(1)[:, 0, 0, :3].int().tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert kept.longest_after(1) == 5
    with pytest.raises(ValueError, match=r"padding has shape \(2,\)"):
        KVCache(batch=3, padding=lengths(1, 0), **sizes)


def test_a_callers_mask_is_over_all_tokens() -> None:
    sizes = dict(n_layers=1, batch=3, n_kv_heads=7, max_length=9, d_head=11)
    kept = KVCache(**sizes, window=3)
    kept.advance(4)
    mask = lengths(0, 1, 0, 0, 1) > 0  # over the tokens 0 to 4, of which 2, 3 and 4 are kept
    assert kept.layer(0).restrict(mask[None], 1).tolist() == [[False, True, False]]
    assert kept.layer(0).restrict(torch.ones(1, 1) > 0, 1).tolist() == [[True]]
    assert kept.layer(0).restrict(None, 1) is None


def test_another_type_than_the_caches() -> None:
    half = new()[0].bfloat16()
    with pytest.raises(ValueError, match=r"keys are torch\.bfloat16 on cpu, but .* torch\.float32"):
        cache().layer(0).keys_values(lambda: (half, half))
    with pytest.raises(ValueError, match=r"values are torch\.float64 .* dtype and device of this"):
        cache().layer(0).keys_values(lambda: (new()[0], new()[0].double()))
    with pytest.raises(ValueError, match=r"values have shape \(3, 7, 1, 2\)"):
        cache().layer(0).keys_values(lambda: (new()[0], new()[0][..., :2]))
    with pytest.raises(ValueError, match="window=0 must be at least 1"):
        KVCache(n_layers=1, batch=1, n_kv_heads=1, max_length=1, d_head=1, window=0)
