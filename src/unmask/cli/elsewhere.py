"""Flags as other programs call them, and what to type here instead: for errors, never second names.

Of LLaDA's, Dream's and Fast-dLLM's scripts, lm-eval, vLLM and transformers' trainers. An entry says `--flag EXAMPLE`,
tried from left to right: the first whose flag the verb has is told. One that begins with no flag is a sentence and
always fits.
"""

from collections.abc import Collection, Mapping, Sequence

from unmask.core.published import sampler_pointer

_BUDGET = ("--budget 8", "--budgets 4 8", "--updates 1000")
_LENGTH = ("--response-length 128", "a response gets the positions its denoiser was made for")
_SAMPLER = ("--sampler top-prob", "--samplers top-prob margin", "--own-sampler top-prob")
_DENOISER = ("--denoiser NAME", "--init NAME", "the name stands by itself: `unmask {verb} NAME`")
_BATCH = ("--batch 8", "--rows 8")
_WHOLE_LAW = ("tokens are drawn from the whole distribution; --temperature 0, the default, writes the most probable",)
_OUT = ("--out runs/mine", "answers go to stdout (`> answers.txt`), a trace to --trace trace.json")
_DTYPE = ("--dtype bfloat16",)

FLAGS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("--steps", "--num-steps", "--max-steps", "--diffusion-steps", "--denoising-steps"), _BUDGET),
    **dict.fromkeys(("--nfe", "--step", "--sampling-steps", "--num-inference-steps"), _BUDGET),
    **dict.fromkeys(("--gen-length", "--gen-len", "--max-new-tokens", "--max-tokens", "--max-length"), _LENGTH),
    **dict.fromkeys(("--max-gen-toks", "--length", "--max-gen-length", "--generation-length"), _LENGTH),
    **dict.fromkeys(
        ("--block-length", "--block-size", "--block", "--blocks"),
        ("--sampler top-prob:block=32", "--samplers top-prob:block=32", "--own-sampler top-prob:block=32"),
    ),
    **dict.fromkeys(
        ("--cfg-scale", "--cfg", "--guidance-scale", "--guidance"),
        ("there is no classifier-free guidance; what steers a response is the prompt, and --temperature",),
    ),
    **dict.fromkeys(("--top-p", "--top-k", "--min-p", "--nucleus", "--typical-p"), _WHOLE_LAW),
    **dict.fromkeys(
        ("--repetition-penalty", "--presence-penalty", "--frequency-penalty", "--no-repeat-ngram-size"),
        ("logits are left as the denoiser gives them",),
    ),
    **dict.fromkeys(("--num-beams", "--beam-size"), ("there are no beams; a response is one path",)),
    **dict.fromkeys(("--do-sample", "--sample", "--sampling"), ("--temperature 1",)),
    **dict.fromkeys(("--temp",), ("--temperature 1",)),
    **dict.fromkeys(("--remasking", "--alg", "--algorithm", "--strategy", "--unmasking", "--decoding"), _SAMPLER),
    **dict.fromkeys(("--remasking-strategy", "--decoding-strategy", "--method", "--scheduler", "--policy"), _SAMPLER),
    "--alg-temp": ("--sampler entropy:alg_temp=0.1", "--samplers entropy:alg_temp=0.1"),
    **dict.fromkeys(
        ("--threshold", "--confidence-threshold", "--confidence", "--level"),
        ("--sampler threshold:level=0.9", "--samplers threshold:level=0.9", "--own-sampler threshold:level=0.9"),
    ),
    "--factor": ("--sampler factor:factor=1", "--samplers factor:factor=1"),
    **dict.fromkeys(("--model", "--model-path", "--model-name", "--model-name-or-path", "--pretrained"), _DENOISER),
    **dict.fromkeys(("--checkpoint", "--ckpt", "--ckpt-path", "--model-id", "--model-args"), _DENOISER),
    **dict.fromkeys(
        ("--prompt", "--prompts", "--input", "--question", "--text", "--query", "--instruction"),
        ('prompts stand by themselves: `unmask {verb} ... "PROMPT"`, or `-` for the lines of stdin',),
    ),
    **dict.fromkeys(
        ("--file", "--prompt-file", "--input-file", "--prompts-file"),
        ("prompts stand by themselves, or are read from stdin: `unmask {verb} ... - < prompts.txt`",),
    ),
    **dict.fromkeys(("--batch-size", "--bs", "--per-device-train-batch-size", "--micro-batch-size"), _BATCH),
    "--gradient-accumulation-steps": ("--accumulate 8",),
    **dict.fromkeys(("--lr", "--learning-rate"), ("--rate 0.001",)),
    **dict.fromkeys(("--epochs", "--num-train-epochs", "--num-epochs", "--iters", "--iterations"), ("--updates 1000",)),
    **dict.fromkeys(("--limit", "--num-examples", "--num-problems", "--num-samples", "--n", "--num"), ("--count 100",)),
    **dict.fromkeys(("--output", "--output-dir", "--output-path", "--save-dir", "--save-path"), _OUT),
    **dict.fromkeys(("--gpu", "--cuda", "--use-cuda", "--gpus"), ("--device cuda",)),
    **dict.fromkeys(("--precision", "--torch-dtype", "--bf16", "--fp16", "--half", "--mixed-precision"), _DTYPE),
    **dict.fromkeys(("--dataset", "--tasks", "--benchmark", "--dataset-name"), ("--task gsm8k",)),
    **dict.fromkeys(("--train-file", "--data-path", "--dataset-path", "--data-dir"), ("--data my.jsonl",)),
    **dict.fromkeys(("--stop-words", "--stop-sequences", "--stop-strings", "--until"), ("--stop TEXT",)),
    **dict.fromkeys(("--stream", "--verbose", "--show", "--visualize", "--visualise"), ("--watch",)),
    **dict.fromkeys(("--use-cache", "--kv-cache", "--dual-cache"), ("--cache prefix-approximate:refresh=8",)),
    **dict.fromkeys(("--num-workers", "--num-proc"), ("--workers 4", "--jobs 4")),
    **dict.fromkeys(("--resume", "--resume-from-checkpoint", "--continue"), ("the same command goes on where it was",)),
    **dict.fromkeys(("--force", "--overwrite-output-dir"), ("--overwrite",)),
    **dict.fromkeys(("--private-repo",), ("--private",)),
    **dict.fromkeys(("--context-length", "--max-seq-length", "--seq-len", "--block-size-tokens"), ("--context 256",)),
    **dict.fromkeys(("--hidden-size", "--d-model", "--n-embd", "--dim"), ("--width 256",)),
    **dict.fromkeys(("--num-layers", "--n-layer", "--depth"), ("--layers 6",)),
    **dict.fromkeys(("--num-heads", "--n-head"), ("--heads 8",)),
    **dict.fromkeys(("--intermediate-size", "--ffn-dim"), ("--hidden 704",)),
    "--vocab-size": ("--vocabulary 1024",),
    "--lora": ("--denoiser-update lora",),
    **dict.fromkeys(("--lora-r", "--rank"), ("--lora-rank 8",)),
}

SHORT: Mapping[str, Sequence[str]] = {
    "-d": ("--denoiser", "--data", "--device"),
    "-m": ("--denoiser", "--init"),
    "-b": ("--budget", "--budgets"),
    "-s": ("--sampler", "--samplers", "--seed"),
    "-t": ("--task", "--temperature"),
    "-o": ("--out",),
    "-n": ("--count", "--updates"),
    "-l": ("--response-length", "--layers"),
    "-j": ("--jobs", "--json"),
    "-f": ("--families", "--overwrite"),
    "-v": ("--watch",),
}


def elsewhere(verb: str, flag: str, value: str | None, known: Collection[str]) -> str | None:
    """What to type instead of a flag that other programs have, as a sentence; None where nothing is known of it.

    value: what stood after it: a published name of a sampler is pointed to as well.
    """
    for instead in FLAGS.get(flag, ()):
        if not instead.startswith("--"):
            return f"There is none: {instead.format(verb=verb)}."
        if instead.split()[0] in known:
            pointer = sampler_pointer(value) if value is not None and instead in _SAMPLER else None
            told = f" (`{value}` is {pointer})" if pointer else ""
            return f"Use `{_with(instead, value)}` instead{told}."
    return None


def _with(example: str, value: str | None) -> str:
    """The example with the number that was given, where it has one."""
    name, _, number = example.partition(" ")
    return f"{name} {value}" if number.isdigit() and value is not None and value.isdigit() else example


def short(flag: str, known: Collection[str]) -> str:
    """The whole name of a flag of one letter: that of the table, else the first that begins with it."""
    letter = flag[:2]
    near = (each for each in (*SHORT.get(letter, ()), *known) if each in known)
    begun = [each for each in near if each in SHORT.get(letter, ()) or each[2] == letter[1]]
    meant = f" Did you mean `{begun[0]}`?" if begun else ""
    return f"Flags are whole words here.{meant}"
