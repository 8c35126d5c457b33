"""What a learned order costs beside a denoiser of eight billion parameters, in floating-point operations per step.

    PYTHONPATH=src python3 benchmarks/policy_cost.py --out docs/records/policy-cost

Counted, not timed: every matrix product and attention of one step of one row, on tensors without storage (torch's
FlopCounterMode, two operations for a multiplication with its addition). The denoiser has the shape of LLaDA-8B; the
policy is that of `unmask learn` reading its hidden states. A step with less left to write costs the policy less and the
denoiser hardly.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from unmask.core.files import write_json
from unmask.denoisers.transformer import Transformer, TransformerConfig, rotary_angles
from unmask.evaluate.records import provenance
from unmask.orders.features import POSITION_FEATURES, ROW_FEATURES, Packed
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.train.learn_config import LearnConfig

LLADA_8B = TransformerConfig(
    vocabulary=126_464, mask_token=126_336, context=4096, layers=32, width=4096, heads=32, hidden=12_288,
    rope_base=500_000.0, tied=False,
)  # fmt: skip


def counted(work: Any) -> int:
    """Operations of `work()`."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops()


def trunk_pass(network: Transformer, positions: int) -> int:
    """One pass over `positions`, without the output head."""
    config = network.config
    hidden = torch.empty(1, positions, config.width, device="meta", dtype=torch.bfloat16)
    cos, sin = rotary_angles(torch.empty(1, positions, device="meta"), config.width // config.heads, config.rope_base)
    return counted(lambda: network.trunk(hidden, cos, sin, None))


def head_pass(network: Transformer, masked: int) -> int:
    """The output head at `masked` positions."""
    hidden = torch.empty(masked, network.config.width, device="meta", dtype=torch.bfloat16)
    return counted(lambda: network.head(hidden))


def policy_step(policy: PolicyNetwork, masked: int) -> int:
    """The coins of `masked` positions."""
    packed = Packed(
        row=torch.empty(masked, device="meta"),
        position=torch.empty(masked, device="meta"),
        place=torch.empty(masked, device="meta"),
        present=torch.empty(1, masked, device="meta", dtype=torch.bool),
        rotary=torch.empty(1, masked, device="meta"),
        hidden=torch.empty(1, masked, policy.config.denoiser_width, device="meta"),
        guesses=torch.empty(1, masked, 2, device="meta", dtype=torch.long),
        scalars=torch.empty(1, masked, POSITION_FEATURES, device="meta"),
        rows=torch.empty(1, ROW_FEATURES, device="meta"),
    )
    return counted(lambda: policy.logits(packed))


def cost(shape: TransformerConfig, policy: PolicyConfig, positions: int, response: int) -> dict[str, Any]:
    """Both at every sixteenth of the response, from all to be written on."""
    with torch.device("meta"):
        network = Transformer(shape).bfloat16()
        order = PolicyNetwork(policy)
    trunk, steps = trunk_pass(network, positions), []
    for left in range(16, 0, -1):
        masked = response * left // 16
        theirs, ours = trunk + head_pass(network, masked), policy_step(order, masked)
        steps.append({"masked": masked, "denoiser": theirs, "policy": ours, "share": ours / theirs})
    return {
        "positions": positions,
        "response": response,
        "denoiser_parameters": sum(each.numel() for each in network.parameters()),
        "policy_parameters": sum(each.numel() for each in order.parameters()),
        "share_first_step": steps[0]["share"],
        "share_mean": sum(each["policy"] for each in steps) / sum(each["denoiser"] for each in steps),
        "steps": steps,
    }


def main() -> int:
    """Print a line for each length, and one JSON object."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--positions", type=int, nargs="+", default=[512, 1024, 4096])
    parser.add_argument("--response", type=int, default=256)
    parser.add_argument("--width", type=int, default=PolicyConfig.width)
    parser.add_argument("--layers", type=int, default=PolicyConfig.layers)
    parser.add_argument("--out", type=Path, help="folder that gets record.json")
    given = parser.parse_args()
    policy = PolicyConfig(LLADA_8B.width, given.width, given.layers, codes=LearnConfig.codes)
    cells = []
    for positions in given.positions:
        cell = cost(LLADA_8B, policy, positions, min(given.response, positions))
        cells.append(cell)
        print(
            f"{positions} positions, {cell['response']} of them a response: the policy is "
            f"{100 * cell['share_first_step']:.5f} % of the denoiser's operations at the first step, "
            f"{100 * cell['share_mean']:.5f} % over a decode",
            file=sys.stderr,
        )
    found = provenance("cpu")
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    record = {**found, "denoiser": LLADA_8B.to_dict(), "policy": policy.to_dict(), "cells": cells}
    if given.out is not None:
        write_json(given.out / "record.json", record)
    print(json.dumps(record, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
