"""The prompt that documentation, help and errors show: the bundled denoiser answers it right with every sampler.

That holds at 4, 6, 8 and 48 steps, every equation included; tests/docs/test_prompts.py finds every place where a
prompt is shown, and runs it.
"""

PROMPT = (
    "On Friday 24 children come to play and 6 of them go home early. The other children make teams of 3. "
    "How many teams are there?"
)
ANSWER = "6"
