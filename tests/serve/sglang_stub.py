"""The part of SGLang 0.5.23 that a dLLM algorithm meets, written down from its interface: names, arguments, promises.

`DllmAlgorithm` here does what theirs does in both of its modes. `install` puts it into `sys.modules`, with their own
file in its place where it is found: the engine around it stays a stub either way, and nothing needs a GPU.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


@dataclass
class DllmConfig:
    """What the algorithm is made from."""

    algorithm: str
    algorithm_config: dict[str, Any]
    block_size: int
    mask_id: int
    max_running_requests: int
    first_done_first_out_mode: bool = False
    requires_separate_context_encoding: bool = False
    capture_input_preparation: bool = False
    delete_token_id: int | None = None
    split_token_id: int | None = None


@dataclass
class ForwardBatch:
    """One block of each request, end to end. input_ids, positions: [B * L]. dllm_prompt_mask: bool [B, L] or None."""

    batch_size: int
    input_ids: torch.Tensor
    positions: torch.Tensor
    rids: list[str] | None = None
    dllm_prompt_mask: torch.Tensor | None = None


@dataclass
class ModelRunner:
    """`network` maps tokens [B, L] to logits [B, L, V]; `calls` counts."""

    network: Callable[[torch.Tensor], torch.Tensor]
    block_size: int
    calls: int = 0

    def forward(self, forward_batch, pp_proxy_tensors=None):
        self.calls += 1
        tokens = forward_batch.input_ids.view(forward_batch.batch_size, self.block_size)
        logits = self.network(tokens).flatten(0, 1)
        return SimpleNamespace(logits_output=SimpleNamespace(full_logits=logits), can_run_graph=False)


class DllmAlgorithm:
    supported_architectures = ()
    requires_separate_context_encoding = False
    required_attention_backend = None
    reuse_forward_metadata = False
    supported_attention_backends = ()
    capture_input_preparation = False

    def __init__(self, config):
        self.block_size, self.mask_id = config.block_size, config.mask_id
        self.fdfo = config.first_done_first_out_mode

    def init_step_state(self, forward_batch):
        return [None for _ in range(forward_batch.batch_size)]

    def prepare_inputs(self, model_runner, forward_batch, states):
        return None

    def max_steps(self, block_size):
        return block_size + 1

    def step(self, forward_batch, full_logits, states):
        raise NotImplementedError

    def run(self, model_runner, forward_batch, algo_states=None):
        if not self.fdfo:
            return self._whole_blocks(model_runner, forward_batch)
        return self._one_round(model_runner, forward_batch, algo_states)

    def _whole_blocks(self, model_runner, forward_batch):
        """Forward and step until every block says it is done; then what was masked at the start is handed on."""
        shape = forward_batch.batch_size, self.block_size
        given = forward_batch.dllm_prompt_mask
        given = forward_batch.input_ids.view(shape) != self.mask_id if given is None else given
        starts = given.sum(dim=1).tolist()
        states = self.init_step_state(forward_batch)
        self.prepare_inputs(model_runner, forward_batch, states)
        out = model_runner.forward(forward_batch, pp_proxy_tensors=None)
        if min(starts) == self.block_size:
            return out.logits_output, [], None, None, out.can_run_graph
        left = self.max_steps(self.block_size)
        while left and not all(self.step(forward_batch, out.logits_output.full_logits, states)):
            left -= 1
            self.prepare_inputs(model_runner, forward_batch, states)
            out = model_runner.forward(forward_batch, pp_proxy_tensors=None)
        blocks = forward_batch.input_ids.view(shape)
        written = [block[start:] for block, start in zip(blocks, starts, strict=True)]
        return out.logits_output, written, None, None, out.can_run_graph

    def _one_round(self, model_runner, forward_batch, algo_states):
        """One forward and one step; the states of blocks that are not done are handed back for the next round."""
        carried = algo_states or [None] * forward_batch.batch_size
        fresh = self.init_step_state(forward_batch) if None in carried else []
        states = [fresh[at] if state is None else state for at, state in enumerate(carried)]
        self.prepare_inputs(model_runner, forward_batch, states)
        out = model_runner.forward(forward_batch, pp_proxy_tensors=None)
        done = self.step(forward_batch, out.logits_output.full_logits, states)
        return (
            out.logits_output,
            forward_batch.input_ids.view(forward_batch.batch_size, self.block_size).tolist(),
            [self.block_size * finished for finished in done],
            [None if finished else state for finished, state in zip(done, states, strict=True)],
            out.can_run_graph,
        )


def their_base() -> Path | None:
    """SGLang's own file, if it can be found without importing anything of it."""
    for folder in sys.path:
        path = Path(folder or ".") / "sglang" / "srt" / "dllm" / "algorithm" / "base.py"
        if path.is_file():
            return path
    return None


def modules(base: Path | None) -> dict[str, ModuleType]:
    """What to put into `sys.modules`: the stub, or around `base` what that file imports."""
    contents: dict[str, dict[str, Any]] = {
        "sglang": {},
        "sglang.srt": {},
        "sglang.srt.dllm": {},
        "sglang.srt.dllm.algorithm": {"algo_name_to_cls": {}, "get_algorithm": None},
        "sglang.srt.dllm.config": {"DllmConfig": DllmConfig},
        "sglang.srt.layers": {},
        "sglang.srt.layers.logits_processor": {"LogitsProcessorOutput": SimpleNamespace},
        "sglang.srt.model_executor": {},
        "sglang.srt.model_executor.forward_batch_info": {"ForwardBatch": ForwardBatch},
        "sglang.srt.model_executor.model_runner": {"ModelRunner": ModelRunner},
        "sglang.srt.server_args": {"ServerArgs": SimpleNamespace},
        "sglang.srt.utils": {"is_npu": lambda: False},
        "sglang.srt.dllm.algorithm.base": {"DllmAlgorithm": DllmAlgorithm},
    }
    made = {}
    for name, values in contents.items():
        made[name] = ModuleType(name)
        made[name].__path__ = []
        vars(made[name]).update(values)
    if base is not None:
        spec = importlib.util.spec_from_file_location("sglang.srt.dllm.algorithm.base", base)
        assert spec is not None
        made["sglang.srt.dllm.algorithm.base"] = importlib.util.module_from_spec(spec)
    return made


def install(monkeypatch, base: Path | None) -> None:
    """Make `import sglang...` find the stub, or with `base` their algorithm file inside the stub."""
    for name in [name for name in sys.modules if name == "unmask.serve.sglang_algorithm"]:
        monkeypatch.delitem(sys.modules, name)
    made = modules(base)
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    if base is not None:
        module = made["sglang.srt.dllm.algorithm.base"]
        module.__spec__.loader.exec_module(module)
