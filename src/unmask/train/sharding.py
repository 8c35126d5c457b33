"""FSDP2: every process holds a part of each weight, and gathers a block's weights while it runs through it.

What the user's accelerate configuration says of resharding and offloading is kept; what is wrapped is each block of a
`ModuleList`, and the rest together. torch's own `fully_shard` does it, on CPUs too, where accelerate does not offer it.
"""

from typing import Any

from torch import Tensor, nn


def shard(whole: nn.Module, accelerator: Any) -> nn.Module:
    """Shard `whole` in place over all processes, and give it back."""
    from accelerate import FullyShardedDataParallelPlugin
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard

    plugin = FullyShardedDataParallelPlugin()  # reads what `accelerate launch` left in the environment
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    options: dict[str, Any] = {"mesh": mesh}
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        options["offload_policy"] = plugin.cpu_offload
    for blocks in [module for module in whole.modules() if isinstance(module, nn.ModuleList)]:
        for block in blocks:
            fully_shard(block, reshard_after_forward=bool(plugin.reshard_after_forward), **options)
    return fully_shard(whole, **options)  # type: ignore[return-value]


def is_sharded(value: Tensor) -> bool:
    """Whether this is one process's part of a tensor."""
    return hasattr(value, "full_tensor")


def full(value: Tensor) -> Tensor:
    """The whole of a tensor, of which each process may hold a part; all processes have to ask."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]


def placed_like(value: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor `value` that belongs where `like` is a part; `value` itself if `like` is whole."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    local: Any = like
    found: Tensor = distribute_tensor(value.to(local.device), local.device_mesh, local.placements, src_data_rank=None)
    return found


def full_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`full` of each, in the order of their names, so that all processes ask in the same order."""
    return {name: full(tensors[name]) for name in tensors}


def load_whole(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """`network.load_state_dict(weights)` from whole tensors, wherever its own are parts."""
    own = network.state_dict()
    network.load_state_dict({name: placed_like(value, own.get(name, value)) for name, value in weights.items()})
