"""Learned generation orders, and every published heuristic, for masked diffusion language models.

    import unmask

    denoiser = unmask.load_denoiser("wordprob")
    for answer in unmask.decode(denoiser, ["Ana has 3 pens and buys 4. How many pens has she?"], budget=4):
        print(answer.text)
"""

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
