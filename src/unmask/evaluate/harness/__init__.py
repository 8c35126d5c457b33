"""A denoiser with its sampler as a model of EleutherAI's lm-evaluation-harness (`pip install lm-eval`).

    python -m unmask.evaluate.harness --model unmask --tasks gsm8k \
        --model_args denoiser=wordprob,budget=8

takes lm-eval's own command line and adds the model, which lm-eval cannot find by itself: it has no plug-ins for
models. In Python, `from unmask.evaluate.harness.model import UnmaskLM` registers it.
"""
