"""The rotary base of a network, wherever a config.json says it.

    {"rope_theta": 10000.0, "rope_scaling": null}                                 up to transformers 4
    {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}          from transformers 5 on
    {"rope_parameters": {"full_attention": {...}, "sliding_attention": {...}}}    the same for each kind of layer

Positions that are stretched (linear, dynamic, yarn, longrope, llama3 ...) are other networks, and are refused by name.
"""

from collections.abc import Mapping
from typing import Any

from unmask.core.errors import UserError
from unmask.core.typed import brief
from unmask.denoisers.entries import entry, must_be

# What may stand beside the base without meaning anything, and the value that means nothing.
NEUTRAL: dict[str, Any] = {"factor": 1, "attention_factor": 1, "partial_rotary_factor": 1}
DESCRIPTIVE = ("original_max_position_embeddings",)  # read by stretched positions alone


def rope_base(
    values: Mapping[str, Any], default: float, *older: str, kind: str = "full_attention"
) -> float:
    """The base for layers of this kind; `default` where nothing says it, which is what transformers takes too.

    older: what the entry was called before there were `rope_parameters`; `rope_theta` unless given.

    Raises UserError where positions are stretched, or two entries contradict each other.
    """
    must_be(values, "partial_rotary_factor", 1.0, "every coordinate of a head is turned")
    names = older or ("rope_theta",)
    found = {name: entry(values, name, float) for name in names if values.get(name) is not None}
    for name in ("rope_parameters", "rope_scaling"):
        own = own_parameters(values, name, kind)
        if own.get("rope_theta") is not None:
            found[f"{name}.rope_theta"] = entry(own, "rope_theta", float)
    if len(set(found.values())) > 1:
        both = " and ".join(f"`{name}` {value:g}" for name, value in found.items())
        raise UserError(f"config.json has {both}, which contradict each other; keep the one the weights were made with")
    return next(iter(found.values()), default)


def own_parameters(values: Mapping[str, Any], name: str, kind: str) -> Mapping[str, Any]:
    """What `rope_parameters` or `rope_scaling` says of one kind of layer, {} for nothing."""
    given = values.get(name)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UserError(f"config.json has `{name}` {brief(given)}, which should be an object or null")
    nested = any(key.endswith("_attention") or isinstance(value, dict) for key, value in given.items())
    own = given.get(kind, {}) if nested else given
    if nested and (not isinstance(own, dict) or not all(isinstance(value, dict) for value in given.values())):
        raise UserError(f"config.json has `{name}` {brief(given)}; it takes an object for `{kind}`")
    assert isinstance(own, dict)
    types = {own[key] for key in ("rope_type", "type") if isinstance(own.get(key), str)}
    for key, value in own.items():
        if key in ("rope_type", "type"):
            if value is not None and (value != "default" or len(types) > 1):
                raise UserError(
                    f"config.json has `{name}` with `{key}` {brief(value)} and only 'default' can be read: stretched "
                    "rotary positions are not built in"
                )
        elif key != "rope_theta" and key not in DESCRIPTIVE and value not in (None, NEUTRAL.get(key)):
            raise UserError(f"config.json has `{name}` with `{key}` {brief(value)}, which is not built in")
    return own
