"""LoRA: a denoiser trained along by small factors beside its matrices, which stay as they are (Hu et al. 2021).

peft puts the factors in. They are saved by themselves in peft's own layout, and multiplied into the matrices for the
denoiser that is left beside the order, so that nothing else need know of them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.core.files import read_json, replacing_folder, says
from unmask.denoisers.folder import read_weights, write_weights
from unmask.denoisers.transformer import Transformer

TARGETS = ("query", "key", "value", "out", "gate", "up", "down")  # the matrices of a `transformer.Block`
PREFIX = "base_model.model."  # of the names in peft's files


def add_factors(network: nn.Module, rank: int, seed: int) -> None:
    """Put factors of `rank` beside the matrices of the blocks; only they learn. At first they change nothing.

    They are float32, whatever the matrices are. Raises UserError without peft, or for a network of other blocks.
    """
    if not isinstance(network, Transformer):
        raise UserError(
            f"denoiser_update lora knows the matrices of the native transformer only, not of {type(network).__name__}; "
            "use frozen or joint"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("denoiser_update lora needs peft; install it with `pip install peft`") from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_factor(name))
        if is_factor(name):
            parameter.data = parameter.data.float()


def is_factor(name: str) -> bool:
    """Whether a parameter of that name is one of the factors."""
    return ".lora_" in name


def factors(network: nn.Module) -> dict[str, Tensor]:
    """The factors by name."""
    return {name: value for name, value in network.state_dict().items() if is_factor(name)}


def merge_factors(network: nn.Module) -> None:
    """Multiply the factors into their matrices and take them out: a plain network again, rounded to its precision."""
    for name, layer in list(network.named_modules()):
        if hasattr(layer, "get_delta_weight"):
            found: Any = layer
            plain = found.get_base_layer()
            with torch.no_grad():
                plain.weight.add_(found.get_delta_weight("default").to(plain.weight.dtype))
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, plain)
    network.requires_grad_(True)


def save_factors(network: nn.Module, rank: int, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors in one go, as peft does."""
    with replacing_folder(folder, lambda there: says(there / "adapter_config.json", peft_type="LORA")) as temporary:
        weights = {PREFIX + name.replace(".default", ""): value.detach().cpu().contiguous()
                   for name, value in factors(network).items()}  # fmt: skip
        write_weights(temporary / "adapter_model.safetensors", weights, {"format": "pt"})
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(TARGETS),
                  "bias": "none", "fan_in_fan_out": False, "inference_mode": True}  # fmt: skip
        (temporary / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_factors(network: nn.Module, folder: Path) -> None:
    """Put the factors of a folder beside the matrices of `network`, in place; `merge_factors` makes it plain again.

    Raises UserError naming the file that is missing, damaged or of another network.
    """
    path = folder / "adapter_config.json"
    config = read_json(path)
    rank = config.get("r")
    ours = config.get("peft_type") == "LORA" and isinstance(rank, int) and config.get("lora_alpha") == 2 * rank > 0
    if not ours or not isinstance(rank, int):
        raise UserError(f"{path} is not one that unmask wrote; give the folder of a run's adapter")
    found = read_weights(folder / "adapter_model.safetensors")
    add_factors(network, rank, seed=0)
    own = factors(network)
    weights = {name: found.get(PREFIX + name.replace(".default", "")) for name in own}
    wrong = sorted(name for name, value in weights.items() if value is None or value.shape != own[name].shape)
    if wrong or len(found) != len(own):
        merge_factors(network)
        what = wrong[0] if wrong else f"{len(found)} tensors instead of {len(own)}"
        raise UserError(f"{folder / 'adapter_model.safetensors'} does not fit this denoiser at {what}")
    network.load_state_dict({name: value for name, value in weights.items() if value is not None}, strict=False)
