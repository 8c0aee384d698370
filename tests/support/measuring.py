"""What a forward and a backward pass cost, as PyTorch itself counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode


@contextlib.contextmanager
def kernel(fused: bool) -> Iterator[None]:
    """Let attention run in the kernel that PyTorch chooses, or step by step."""
    with contextlib.nullcontext() if fused else sdpa_kernel(SDPBackend.MATH):
        yield


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def saved_bytes(run: Callable[[], object], module: nn.Module, *, fused: bool = True) -> int:
    """Bytes of all storages that autograd keeps, each once, without parameters."""
    weights = {p.untyped_storage()._cdata for p in module.parameters()}
    kept: dict[int, Tensor] = {}  # alive, or a storage could take the place of another

    def keep(x: Tensor) -> Tensor:
        kept.setdefault(x.untyped_storage()._cdata, x)
        return x

    with kernel(fused), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        result = run()
    assert result is not None
    sizes = {key: x.untyped_storage().nbytes() for key, x in kept.items()}
    return sum(size for key, size in sizes.items() if key not in weights)


def flops(run: Callable[[], Tensor]) -> tuple[int, int]:
    """Operations of a forward pass, and of a forward and a backward pass.

    In the fused kernels of a CPU the counter sees nothing, so attention runs step by step.
    """
    with kernel(fused=False):
        with FlopCounterMode(display=False) as forward:
            y = run()
        with FlopCounterMode(display=False) as backward:
            y.sum().backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()


def allocated_bytes(run: Callable[[], object]) -> int:
    """Bytes of all that is allocated on the way, also of what is freed again."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()
    return sum(max(0, event.nbytes()) for event in events if event.name() == "[memory]")
