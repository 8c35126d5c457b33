"""Published decode loops, each written anew from its rule in as few lines as it takes: what ours are held to.

`predict(tokens)` gives logits [L, V] for one row (long [L], the mask token where nothing is written); every loop gives
the finished row. At temperature 0, one row at a time, float32.
"""

import torch


def probabilities(logits):
    """The most probable token of each position, and its probability."""
    best = logits.argmax(-1)
    return best, logits.softmax(-1).gather(-1, best[:, None])[:, 0]


def surest(score, masked, count):
    """The `count` masked positions with the largest score. Of equal ones the leftmost: published code takes `topk`,
    which takes any, and in which ends of confidence 0 are all equal."""
    return score.masked_fill(~masked, -torch.inf).sort(descending=True, stable=True).indices[:count]


def even_counts(masked, steps):
    """LLaDA's schedule: the same number at each step, one more at the first few."""
    return [masked // steps + (step < masked % steps) for step in range(steps)]


def llada(predict, tokens, mask, steps, block, ends=()):
    """LLaDA's generate.py, "low_confidence"; with `ends` its confidence_eos_eot_inf."""
    tokens, response = tokens.clone(), (tokens == mask).nonzero()[:, 0]
    blocks = response.split(block)
    for part in blocks:
        for count in even_counts(len(part), steps // len(blocks)):
            masked = tokens == mask
            logits = predict(tokens)
            best = logits.argmax(-1)
            logits[:, list(ends)] = -torch.inf
            confidence = logits.softmax(-1).gather(-1, best[:, None])[:, 0]
            confidence[part[-1] + 1 :] = -torch.inf
            chosen = surest(confidence, masked, count)
            tokens[chosen] = best[chosen]
    return tokens


def dream_scores(logits, kind):
    """Dream's confidences."""
    probability = logits.softmax(-1)
    if kind == "maskgit_plus":
        return probability.max(-1).values
    if kind == "topk_margin":
        first, second = probability.topk(2).values.unbind(-1)
        return first - second
    return (probability * (probability + 1e-10).log()).sum(-1)


def dream(predict, tokens, mask, steps, kind, eps=1e-3):
    """Dream's diffusion_generate without alg_temp; it also makes the passes that reveal nothing."""
    tokens, times = tokens.clone(), torch.linspace(1, eps, steps + 1)
    for step in range(steps):
        masked = tokens == mask
        logits = predict(tokens)
        left = masked.sum()
        count = int(left * (1 - times[step + 1] / times[step])) if step < steps - 1 else int(left)
        if count > 0:
            chosen = surest(dream_scores(logits, kind), masked, count)
            tokens[chosen] = logits.argmax(-1)[chosen]
    return tokens


def fast_dllm(predict, tokens, mask, block, *, threshold=None, factor=None):
    """Fast-dLLM's generate without a cache, by a threshold or by a factor."""
    tokens, response = tokens.clone(), (tokens == mask).nonzero()[:, 0]
    for part in response.split(block):
        while bool((tokens[part] == mask).any()):
            masked = torch.zeros_like(tokens, dtype=torch.bool)
            masked[part] = tokens[part] == mask
            best, confidence = probabilities(predict(tokens))
            left = int(masked.sum())
            if threshold is not None:
                count = max(1, int((confidence[masked] >= threshold).sum()))
            else:
                levels = [-1.0] + [1 - factor / (number + 1) for number in range(2, left + 1)]
                ranked = confidence[masked].double().sort(descending=True).values.tolist()
                number = next((n for n in range(left) if ranked[n] < levels[n]), left - 1)
                count = number + 1 if number in (0, left - 1) else number
            chosen = surest(confidence, masked, count)
            tokens[chosen] = best[chosen]
    return tokens
