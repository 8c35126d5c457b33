"""The plug-in for SGLang: its entry point `sglang.srt.plugins` finds `register` here.

    python -m sglang.launch_server --model-path inclusionAI/LLaDA2.0-mini --trust-remote-code \\
        --dllm-algorithm Unmask --dllm-algorithm-config unmask.yaml

with an unmask.yaml such as

    sampler: "entropy-bounded:bound=0.3"
    budget: 16

NOT RUN ON A GPU YET: tested against a stub of SGLang 0.5.23's interface, and against its own `DllmAlgorithm` with the
engine around it replaced by the stub; no server was started.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.orders.folder import load_order
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker, Editor
from unmask.samplers.end_of_text import Ends, end_ids
from unmask.samplers.options import check_temperature, check_whole

NAME = "Unmask"  # for --dllm-algorithm
THEIRS = ("block_size", "capture_input_preparation")  # keys of the configuration that SGLang itself reads


@dataclass(frozen=True)
class Settings:
    """What the file of --dllm-algorithm-config may say.

    sampler:     `NAME:key=value,...`; every sampler that does not look again at what it wrote (so not wino).
    order:       instead of it, the folder of a learned order, or owner/name, that reads no hidden states.
    budget:      the most steps a block may take; as many as it has positions unless given.
    temperature: of the tokens, for all requests: SGLang does not hand a request's own to the algorithm.
    seed:        of the draws, together with the request's id and the block.
    end_token:   for samplers with an end-of-text rule: the id of one, or a list of several.
    """

    sampler: str | None = None
    order: str | None = None
    budget: int | None = None
    temperature: float = 0.0
    seed: int = 0
    end_token: Ends | None = None

    @staticmethod
    def read(values: Mapping[str, Any]) -> "Settings":
        """From the file's entries. Raises UserError on an entry that cannot be."""
        ours = {key: value for key, value in values.items() if key not in THEIRS}
        for key in ours:
            check_name(str(key), Settings.__dataclass_fields__, "entry of the dLLM configuration")
        for key in ("sampler", "order"):
            if not isinstance(ours.get(key), str | None):
                raise UserError(f"{key} in the dLLM configuration must be a text, got {ours[key]!r}")
        settings = Settings(**ours)
        if settings.order is not None and settings.sampler is not None:
            raise UserError("give sampler or order in the dLLM configuration, not both")
        if settings.budget is not None:
            check_whole("budget", settings.budget, 1)
        check_temperature("temperature", settings.temperature)
        check_whole("seed", settings.seed, 0)
        end_ids(settings.end_token)
        return settings

    def unmasker(self, budget: int) -> AnyUnmasker:
        """The sampler for a budget. Raises UserError on one that needs more than the logits of the block."""
        if self.order is not None:
            order = load_order(self.order)
            if order.policy.config.denoiser_width:
                raise UserError(
                    f"the order {self.order} reads hidden states of width {order.policy.config.denoiser_width}, and "
                    "SGLang hands logits only to its algorithms"
                )
            return order.unmasker(budget)
        made = make_sampler(self.sampler or "top-prob", self.end_token)
        if isinstance(made, Editor) and made.rereads:
            raise UserError(
                f"`{self.sampler}` looks again at what it wrote, which SGLang's logits do not say; name another sampler"
            )
        return made


def register() -> None:
    """Add the algorithm to SGLang's table of them. SGLang calls this once in every process."""
    from sglang.srt.dllm.algorithm import algo_name_to_cls

    from unmask.serve.sglang_algorithm import Unmask

    algo_name_to_cls[NAME] = Unmask
