"""A learned order on disk: config.json, model.safetensors and a README.md as its card."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unmask.core.devices import check_device
from unmask.core.errors import UserError
from unmask.core.files import read_json, replacing_folder, says, write_json
from unmask.core.typed import brief, check_fields
from unmask.denoisers.address import local_path, repository_of
from unmask.denoisers.folder import check_depth, read_card, read_config, read_weights, write_weights
from unmask.denoisers.hub import fetch
from unmask.denoisers.streaming import check_finite
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers.base import Unmasker
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.learned import DecodeRule, Learned

FORMAT, VERSION = "unmask-order", 1
STUB = "# A learned order, made with unmask"  # the card of an order that was given none


@dataclass(frozen=True)
class LearnedOrder:
    """A policy, how to decode with it at each budget, and its card.

    rules: budget -> rule, as chosen on validation; other budgets use that of the nearest (on the log scale).
    """

    policy: PolicyNetwork
    rules: Mapping[int, DecodeRule]
    card: dict[str, Any] = field(default_factory=dict)

    def rule(self, budget: int) -> DecodeRule:
        """The rule for a budget; sampling from the policy if none was chosen."""
        if not self.rules:
            return DecodeRule("sample")
        nearest = min(self.rules, key=lambda known: (abs(math.log(known / budget)), known))
        return self.rules[nearest]

    def unmasker(self, budget: int, one_per_step: bool = False) -> Unmasker:
        """The order as a sampler. one_per_step: the single most urgent position each time, within the budget."""
        if one_per_step:
            return Budgeted(Learned(self.policy, DecodeRule("threshold", 1.0)), exact=True)
        return Learned(self.policy, self.rule(budget))


def save_order(order: LearnedOrder, folder: Path, readme: str | None = None) -> None:
    """Write the folder in one go, in place of an order that stood there, but of nothing else (UserError)."""
    with replacing_folder(folder, lambda there: says(there / "config.json", format=FORMAT)) as temporary:
        weights = {name: value.detach().cpu().contiguous() for name, value in order.policy.state_dict().items()}
        write_weights(temporary / "model.safetensors", weights, {"format": "pt"})
        config = {
            "format": FORMAT,
            "version": VERSION,
            "policy": order.policy.config.to_dict(),
            "rules": {str(budget): rule.to_dict() for budget, rule in sorted(order.rules.items())},
            "card": order.card,
        }
        write_json(temporary / "config.json", config)
        card = readme or f"{STUB}\n"
        (temporary / "README.md").write_text(card, encoding="utf-8")


def load_order(folder: str | Path, device: str = "cpu") -> LearnedOrder:
    """Read a folder, or `owner/name` from the hub, which is fetched unless there is such a folder.

    Raises UserError naming the file that is missing, damaged, foreign or does not fit.
    """
    check_device(device)
    name, folder = str(folder), local_path(str(folder))
    if (repository := repository_of(name)) is not None:
        folder = fetch(*repository)
    if not folder.is_dir():
        raise UserError(f"there is no learned order at {folder}; make one with `unmask learn --out {folder}`")
    path = folder / "config.json"
    config = read_json(path)
    if config.get("format") != FORMAT:
        raise UserError(f"{path} is not a learned order (format {config.get('format')!r})")
    if config.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {config.get('version')!r}, this unmask reads version {VERSION}"
        )
    if extra := sorted(set(config) - {"format", "version", "policy", "rules", "card"}):
        raise UserError(f"{path} has unknown entries {brief(extra)}; it is of another version")
    shape = read_config(path, config, "policy", PolicyConfig, later=("components", "codes"))
    rules, card = read_rules(path, config.get("rules")), read_card(path, config)
    file = folder / "model.safetensors"
    weights = read_weights(file)
    check_depth(file, shape.layers, weights)
    try:
        with torch.device("meta"):  # no weights to draw: they come from the file
            policy = PolicyNetwork(shape)
    except (UserError, RuntimeError) as error:
        raise UserError(f"{path} has a policy that cannot be: {str(error).partition(chr(10))[0]}") from error
    expected = {name: tuple(value.shape) for name, value in policy.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise UserError(f"{file} does not fit config.json at {', '.join(wrong[:3])}")
    for name, value in weights.items():
        if not value.is_floating_point():
            raise UserError(f"{file} has {name} as {value.dtype}, and weights are numbers with a point")
        check_finite(file, name, value)
    policy.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    return LearnedOrder(policy.to(device).eval(), rules, card)


def read_rules(path: Path, rules: Any) -> dict[int, DecodeRule]:
    """The decode rule of each budget, from what stands in the file `path`."""
    try:
        found = {int(budget): DecodeRule.from_dict(rule) for budget, rule in rules.items()}
        for budget, rule in found.items():
            check_fields(rule)
            if lost := {"kind", "level"} - rules[str(budget)].keys():  # always written
                raise ValueError(f"that of budget {budget} has no {', '.join(sorted(lost))}")
        if found and min(found) < 1:
            raise ValueError(f"a budget of {min(found)}")
        return found
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} has decode rules that cannot be: {error}") from error
