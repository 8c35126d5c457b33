"""Learned generation orders, and every published heuristic, for masked diffusion language models.

    import unmask

    denoiser = unmask.load_denoiser("wordprob")
    question = "On Friday 24 children come to play and 6 of them go home early. The other children make teams of 3. How many teams are there?"
    for answer in unmask.decode(denoiser, [question], budget=4):
        print(answer.text)
"""  # noqa: E501 - a prompt is not broken

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.core.canvas import Canvas
    from unmask.core.draws import Draws
    from unmask.core.errors import UserError
    from unmask.denoisers.base import Denoised, Denoiser
    from unmask.denoisers.codec import Codec
    from unmask.denoisers.folder import TextDenoiser
    from unmask.denoisers.from_transformers import denoiser_from_transformers
    from unmask.denoisers.hub import load_denoiser
    from unmask.orders.folder import LearnedOrder, load_order
    from unmask.orders.hub import push_to_hub
    from unmask.samplers import Unmasker, make_sampler
    from unmask.samplers.generate import Generation, decode
    from unmask.samplers.trace import Trace, make_trace, read_traces, write_traces
    from unmask.serve.diffusers_scheduler import as_diffusers_scheduler
    from unmask.serve.transformers_generate import export_custom_generate, generate_with
    from unmask.tasks import make_task

__version__ = "0.1.0"

__all__ = [
    "Canvas",
    "Codec",
    "Denoised",
    "Denoiser",
    "Draws",
    "Generation",
    "LearnedOrder",
    "TextDenoiser",
    "Trace",
    "Unmasker",
    "UserError",
    "__version__",
    "as_diffusers_scheduler",
    "decode",
    "denoiser_from_transformers",
    "export_custom_generate",
    "generate_with",
    "load_denoiser",
    "load_order",
    "make_sampler",
    "make_task",
    "make_trace",
    "push_to_hub",
    "read_traces",
    "write_traces",
]

# A name is imported when it is first asked for, so that `unmask --help` need not wait for torch (PEP 562).
_HOMES = {
    "Canvas": "unmask.core.canvas",
    "Draws": "unmask.core.draws",
    "UserError": "unmask.core.errors",
    "Denoised": "unmask.denoisers.base",
    "Denoiser": "unmask.denoisers.base",
    "Codec": "unmask.denoisers.codec",
    "TextDenoiser": "unmask.denoisers.folder",
    "denoiser_from_transformers": "unmask.denoisers.from_transformers",
    "load_denoiser": "unmask.denoisers.hub",
    "LearnedOrder": "unmask.orders.folder",
    "load_order": "unmask.orders.folder",
    "push_to_hub": "unmask.orders.hub",
    "Unmasker": "unmask.samplers",
    "make_sampler": "unmask.samplers",
    "Generation": "unmask.samplers.generate",
    "decode": "unmask.samplers.generate",
    "Trace": "unmask.samplers.trace",
    "make_trace": "unmask.samplers.trace",
    "read_traces": "unmask.samplers.trace",
    "write_traces": "unmask.samplers.trace",
    "as_diffusers_scheduler": "unmask.serve.diffusers_scheduler",
    "export_custom_generate": "unmask.serve.transformers_generate",
    "generate_with": "unmask.serve.transformers_generate",
    "make_task": "unmask.tasks",
}
_ROOMS = (
    *("core", "denoisers", "reveals", "orders", "objectives", "samplers", "tasks"),
    *("exact", "train", "evaluate", "view", "serve", "cli"),
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
