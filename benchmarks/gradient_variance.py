"""How much the estimators of the bound's gradient vary, at equal denoiser passes, over the exact suite.

    python benchmarks/gradient_variance.py --out docs/records/gradient-variance

For each family of the suite: a posterior with a score for every position of every text (equation 3) and a policy with a
coin for every position, context and step (equation 4) are trained on the bound by the default estimator. At the start,
after 10 % and after 50 % of the training, the covariance of each estimator's gradient in the scores of one text is
estimated from repeats, and its trace multiplied by the denoiser rows the estimate cost. The mean gradient of every
estimator is held to the enumerated one, so that none is cheap by being wrong.
"""

import argparse
import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.base import Denoised
from unmask.denoisers.table import TableDenoiser, context_index
from unmask.evaluate.records import provenance
from unmask.exact.enumerate import exact_elbo
from unmask.exact.suite import FAMILIES, instance
from unmask.objectives.bound import bound_surrogate, evaluate_bound
from unmask.objectives.rloo import stratified_steps
from unmask.objectives.rollout import before_step, draw_orders, log_prefix, paths_of
from unmask.reveals import Bernoulli, ScoreRatio, at_temperature
from unmask.train.learn_config import LearnConfig

TAU = 0.5
DEFAULT = LearnConfig()


class Estimator(NamedTuple):
    """samples: K orders a text. steps: D steps evaluated in each. kind: `shared` steps for the orders of a text,
    `own` ones for each, or `drawn`: the set revealed at the step is drawn as well instead of summed out (not
    Rao-Blackwellised), as published estimators do."""

    samples: int
    steps: int
    kind: str = "shared"


PLAIN = "plain: K=2, a step of its own for each"
ESTIMATORS = {
    PLAIN: Estimator(2, 1, "own"),
    "K=2, one step": Estimator(2, 1),
    "K=2, one step, set drawn": Estimator(2, 1, "drawn"),
    "K=2, two steps": Estimator(2, 2),
    f"default: K={DEFAULT.samples}, {DEFAULT.steps_per_row} steps": Estimator(DEFAULT.samples, DEFAULT.steps_per_row),
    "K=2, four steps": Estimator(2, 4),
    "K=4, two steps": Estimator(4, 2),
    "K=4, three steps": Estimator(4, 3),
    "K=8, four steps": Estimator(8, 4),
    "K=8, two steps": Estimator(8, 2),
    "K=8, two steps, set drawn": Estimator(8, 2, "drawn"),
}


@dataclass
class Model:
    """scores: [texts, L]. coins: [C, T, L]."""

    denoiser: TableDenoiser
    scores: Tensor
    coins: Tensor

    def policy(self, canvas: Canvas, denoised: Denoised) -> Bernoulli:
        context = context_index(canvas, self.denoiser.length, self.denoiser.vocabulary)
        return Bernoulli(self.coins[context, canvas.step.clamp(max=self.coins.shape[1] - 1)], canvas.masked)


def texts_of(denoiser: TableDenoiser, numbers: Tensor, steps: int) -> Canvas:
    powers = denoiser.vocabulary ** torch.arange(denoiser.length - 1, -1, -1)
    tokens = numbers[:, None] // powers % denoiser.vocabulary
    return Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), steps)


def estimate(model: Model, clean: Canvas, scores: Tensor, estimator: Estimator, draws: Draws) -> tuple[Tensor, float]:
    """The surrogate of every row, [N], and the denoiser rows a text cost."""
    law = at_temperature(TAU)
    if estimator.kind == "shared":
        found = bound_surrogate(
            clean, scores, law, model.policy, model.denoiser, draws=draws, samples=estimator.samples,
            steps_per_row=estimator.steps,
        )  # fmt: skip
        return found.surrogate, found.passes / len(clean.row)
    paths = paths_of(clean, estimator.samples)
    order = draw_orders(paths, scores.repeat_interleave(estimator.samples, dim=0), law, draws)
    if estimator.kind == "own":
        steps = stratified_steps(paths.budget, estimator.steps, draws.row_uniform(paths, "bound steps"))
        steps = steps.view(len(clean.row), estimator.samples, estimator.steps)
        found = evaluate_bound(clean, order, steps, scores, law, policy=model.policy, denoiser=model.denoiser)
        return found.surrogate, found.passes / len(clean.row)
    return drawn_surrogate(model, clean, scores, estimator, draws)


def drawn_surrogate(
    model: Model, clean: Canvas, scores: Tensor, estimator: Estimator, draws: Draws
) -> tuple[Tensor, float]:
    """One term of equation 2 at the set that was drawn: log p(x_S) + log p(S) - log q(S), and its score terms."""
    paths = paths_of(clean, estimator.samples)
    wide = scores.repeat_interleave(estimator.samples, dim=0)
    law = at_temperature(TAU)
    order = draw_orders(paths, wide, law, draws)
    prefix = log_prefix(paths, order, wide, law)  # [N K, T]
    steps = stratified_steps(clean.budget, estimator.steps, draws.row_uniform(clean, "bound steps"))
    total, passes = torch.zeros(len(clean.row), dtype=torch.float64), 0
    for column in range(estimator.steps):
        step = steps[:, column].repeat_interleave(estimator.samples)
        canvas = before_step(paths, order, step)
        alive = canvas.masked.any(-1)
        passes += int(torch.where(step == 1, 1 / estimator.samples, 1.0)[alive].sum())
        chosen = order.revealed_at(step)
        denoised = model.denoiser(canvas)
        log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(canvas.tokens)), 0.0)
        q, p = law(wide, canvas), model.policy(canvas, denoised)
        free = alive & ~canvas.last_step
        log_q = torch.where(free, q.log_prob(torch.where(free[:, None], chosen, canvas.masked)), 0.0)
        log_p = torch.where(free, p.log_prob(torch.where(free[:, None], chosen, canvas.masked)), 0.0)
        value = torch.where(alive, torch.where(chosen, log_prob, 0.0).sum(-1) + log_p - log_q, 0.0)
        value = (clean.budget.repeat_interleave(estimator.samples) * value).view(-1, estimator.samples)
        score = (prefix.gather(1, step[:, None] - 1).squeeze(1) + log_q).view(-1, estimator.samples)
        others = (value.sum(-1, keepdim=True) - value) / (estimator.samples - 1)
        gradient = (value - others).detach() * (score - score.detach())
        total = total + (value + gradient).mean(-1) / estimator.steps
    return total, passes / len(clean.row)


def exact_gradient(model: Model, clean: Canvas) -> Tensor:
    """[texts, L]: the enumerated gradient of each text's bound in its scores."""
    leaf = model.scores.clone().requires_grad_()

    def posterior(canvas: Canvas, tokens: Tensor) -> ScoreRatio:
        return ScoreRatio(leaf[canvas.row], canvas.masked, TAU)

    bound = exact_elbo(clean, posterior, model.policy, model.denoiser)
    return torch.autograd.grad(bound.sum(), leaf)[0]


class Variance(NamedTuple):
    """cost: trace of the covariance times denoiser rows, mean over the texts. passes: rows a text.

    deviation: squared distance of the mean gradient from the enumerated one over what its variance lets expect; about
    1 if unbiased. (Entry by entry is no test: where a coin is nearly certain, what matters may not be drawn in some
    hundred repeats.)
    """

    cost: float
    passes: float
    deviation: float


def variance(model: Model, clean: Canvas, truth: Tensor, estimator: Estimator, repeats: int, seed: int) -> Variance:
    texts = len(clean.row)
    rows = torch.arange(texts).repeat_interleave(repeats)
    wide = replace(clean.take(rows), row=torch.arange(len(rows)))
    leaf = model.scores[rows].clone().requires_grad_()
    surrogate, passes = estimate(model, wide, leaf, estimator, Draws(seed))
    (gradient,) = torch.autograd.grad(surrogate.sum(), leaf)
    gradient = gradient.view(texts, repeats, -1)
    spread = gradient.var(dim=1)  # [texts, L]
    deviation = (gradient.mean(1) - truth).square().sum() / (spread.sum() / repeats)
    return Variance(float(spread.sum(-1).mean()) * passes, passes, float(deviation))


def train(model: Model, clean: Canvas, updates: int, seed: int) -> None:
    """Maximise the bound of these texts by the default estimator."""
    model.scores.requires_grad_()
    model.coins.requires_grad_()
    optimizer = torch.optim.Adam([model.scores, model.coins], lr=0.05)
    for update in range(updates):
        found = bound_surrogate(
            clean, model.scores, at_temperature(TAU), model.policy, model.denoiser, draws=Draws(seed + update),
            samples=DEFAULT.samples, steps_per_row=DEFAULT.steps_per_row,
        )  # fmt: skip
        optimizer.zero_grad()
        (-found.surrogate.mean()).backward()
        optimizer.step()
    model.scores.requires_grad_(False)
    model.coins.requires_grad_(False)


def measure(family: str, steps: int, updates: int, repeats: int, texts: int) -> list[dict[str, object]]:
    joint = instance(family, 0)
    denoiser = TableDenoiser.of(joint)
    generator = torch.Generator().manual_seed(0)
    numbers = torch.multinomial(joint.flatten(), texts, replacement=True, generator=generator)
    clean = texts_of(denoiser, numbers, steps)
    contexts = (denoiser.vocabulary + 1) ** denoiser.length
    model = Model(
        denoiser,
        0.5 * torch.randn(texts, denoiser.length, generator=generator, dtype=torch.float64),
        torch.zeros(contexts, steps, denoiser.length, dtype=torch.float64),
    )
    found, done = [], 0
    for share in (0.0, 0.1, 0.5):
        train(model, clean, round(share * updates) - done, seed=1_000 + done)
        done = round(share * updates)
        truth = exact_gradient(model, clean)
        for number, (name, estimator) in enumerate(ESTIMATORS.items()):
            here = variance(model, clean, truth, estimator, repeats, seed=10 * number + done)
            found.append({"family": family, "steps": steps, "trained": share, "estimator": name, **here._asdict()})
    return found


def ratios(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Median over families and steps of each estimator's cost over that of the plain one, by share of training."""
    cost = {(r["family"], r["steps"], r["trained"], r["estimator"]): float(str(r["cost"])) for r in rows}
    table: dict[str, dict[str, float]] = {}
    for name in ESTIMATORS:
        table[name] = {}
        for share in (0.0, 0.1, 0.5):
            found = [c / cost[f, s, t, PLAIN] for (f, s, t, e), c in cost.items() if e == name and t == share]
            table[name][f"{share:.0%}"] = round(statistics.median(found), 3)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--updates", type=int, default=300, help="of the whole training")
    parser.add_argument("--repeats", type=int, default=400, help="estimates of each gradient")
    parser.add_argument("--texts", type=int, default=8, help="of each family")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--out", type=Path, help="folder for the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for family in options.families:
        for steps in options.steps:
            rows += measure(family, steps, options.updates, options.repeats, options.texts)
    table = ratios(rows)
    deviation = statistics.median(float(str(row["deviation"])) for row in rows)
    print(f"{'trace of covariance x denoiser rows, over plain':48s}  start   10 %   50 %")
    for name, values in table.items():
        print(f"{name:48s}  " + "  ".join(f"{value:5.2f}" for value in values.values()))
    print(f"squared deviation from the enumerated gradient, over the expected one: median {deviation:.2f}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        record = {"settings": settings, **provenance("cpu"), "ratios": table, "deviation": deviation, "rows": rows}
        (options.out / "record.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
