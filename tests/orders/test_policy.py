import math
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.table import TableDenoiser
from unmask.objectives import imitation_loss
from unmask.orders.folder import LearnedOrder
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import Blockwise, DecodeRule, EndOfText, Learned, decode_canvas
from unmask.samplers.generate import decode

from ..exact.problems import exact_denoiser, random_joint
from .conftest import VOCABULARY, WIDTH, HashDenoiser, some_canvas, some_policy, widen

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def probabilities(policy, canvas, denoiser):
    return policy(canvas, denoiser(canvas)).probabilities()


# ---- a row's law is its own


@pytest.mark.parametrize("pads", [(4, 0), (0, 4), (2, 3)])
def test_the_law_does_not_depend_on_padding(policy, canvas, denoiser, pads):
    padded = probabilities(policy, widen(canvas, *pads), denoiser)
    inside = padded[:, pads[0] : pads[0] + 10]
    torch.testing.assert_close(inside, probabilities(policy, canvas, denoiser), **EXACT)


def test_the_law_does_not_depend_on_neighbours(policy, canvas, denoiser):
    together = probabilities(policy, canvas, denoiser)
    for rows in ([0], [3], [5, 1], [4, 4, 2]):
        index = torch.tensor(rows)
        torch.testing.assert_close(probabilities(policy, canvas.take(index), denoiser), together[index], **EXACT)


def test_the_law_reads_the_hidden_states_the_steps_left_and_the_budget(policy, canvas, denoiser):
    before = probabilities(policy, canvas, denoiser)
    unfinished = canvas.unfinished & ~canvas.last_step
    denoised = denoiser(canvas)
    others = {
        "hidden": policy(canvas, replace(denoised, hidden=denoised.hidden.flip(-1))).probabilities(),
        "step": probabilities(policy, replace(canvas, step=canvas.step + 1), denoiser),
        "budget and step": probabilities(
            policy, replace(canvas, step=canvas.step + 3, budget=canvas.budget + 3), denoiser
        ),
    }
    for name, after in others.items():
        changed = (after - before).abs().amax(-1) > 1e-6
        assert changed[unfinished].all(), name


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("codes", [0, 6])
def test_it_is_told_the_two_most_probable_tokens_by_their_codes_and_without_codes_it_is_not(
    canvas, denoiser, codes, which
):
    """The same probabilities and hidden states, of other tokens."""
    policy, said = some_policy(codes=codes), denoiser(canvas)
    other = said.top2_tokens.clone()
    other[:, which] += VOCABULARY
    renamed = Denoised.from_logits(canvas, said.logits(slice(None)), said.hidden)
    renamed.__dict__["_statistics"] = said.statistics(entropy=True)._replace(top2_tokens=other)
    changed = (policy(canvas, renamed).logits - policy(canvas, said).logits).abs().amax(-1) > 1e-6
    assert changed.tolist() == (canvas.unfinished & (codes > 0)).tolist()


@pytest.mark.slow
def test_codes_let_it_learn_that_two_guesses_do_not_go_together():
    """Two positions alike in all but the token; both are wrong where the other says the same."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(40, (256, 2), generator=generator)
    tokens[::2, 1] = tokens[::2, 0]
    canvas = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), 4)
    logits = torch.nn.functional.one_hot(tokens.flatten(), 41) * 3.0 + torch.nn.functional.one_hot(
        torch.full((512,), 40), 41
    )
    said, right = Denoised.from_logits(canvas, logits), (tokens[:, :1] != tokens[:, 1:]).expand(256, 2)
    losses = {}
    for codes in (0, 16):
        policy = PolicyNetwork(PolicyConfig(0, width=16, layers=1, hidden=32, codes=codes)).initialise(generator)
        optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
        for _ in range(200):
            optimizer.zero_grad()
            loss = imitation_loss(policy(canvas, said), right).mean()
            loss.backward()
            optimizer.step()
        losses[codes] = loss.item()
    assert losses[0] > 1.0, "it cannot know, but for which of two equal probabilities was rounded up"
    assert losses[16] < 0.2


@pytest.mark.parametrize("codes", [-1, 65])
def test_codes_wider_than_a_hash_are_refused(codes):
    with pytest.raises(UserError, match=f"codes must be from 0 to 64 bits, got {codes}"):
        PolicyNetwork(PolicyConfig(codes=codes))


def test_inside_a_wrapper_the_law_is_as_if_the_denoiser_had_spoken_of_no_more(policy, canvas, denoiser):
    denoised = denoiser(canvas)
    open_here = torch.arange(10).expand(6, 10) % 3 != 0
    inside = canvas.restrict(open_here)
    kept = open_here[canvas.masked]
    fewer = Denoised.from_logits(inside, denoised.logits(slice(None))[kept], denoised.hidden[kept])
    ours, theirs = policy(inside, denoised), policy(inside, fewer)
    torch.testing.assert_close(ours.logits, theirs.logits, **EXACT)
    assert torch.equal(ours.masked, inside.masked)


@pytest.mark.parametrize(
    "unmasker",
    [
        Learned(some_policy()),
        Learned(some_policy(), DecodeRule("threshold", 0.3)),
        Blockwise(Learned(some_policy()), 3),
        EndOfText(Learned(some_policy()), "tail", end_token=2),
    ],
    ids=["sampled", "threshold", "blocks", "ends"],
)
def test_a_row_is_decoded_the_same_alone_and_in_a_crowd_and_within_its_budget(unmasker):
    canvas = replace(some_canvas(), step=torch.zeros(6, dtype=torch.long))
    crowd = decode_canvas(HashDenoiser(), widen(canvas, 2, 1), unmasker, seed=3)
    assert not crowd.canvas.masked.any()
    assert (crowd.steps <= canvas.budget).all()
    for row in range(6):
        alone = decode_canvas(HashDenoiser(), canvas.take(torch.tensor([row])), unmasker, seed=3)
        assert torch.equal(alone.revealed_at[0], crowd.revealed_at[row, 2:-1])
        assert torch.equal(alone.canvas.tokens[0], crowd.canvas.tokens[row, 2:-1])


def test_each_row_is_decoded_by_the_rule_of_its_own_budget_whatever_the_others_have():
    """Budgets 1, 2 and 4 go by one rule, 8 and 16 by another, 24 by a third; alone, in a crowd, in small batches."""
    slow, fast = DecodeRule("threshold", 0.95), DecodeRule("threshold", 0.01, pace=True)
    order = LearnedOrder(some_policy(), {4: slow, 12: DecodeRule("sample", sharpness=3.0), 24: fast})
    canvas = replace(some_canvas(), step=torch.zeros(6, dtype=torch.long), budget=torch.tensor([4, 24, 1, 8, 2, 16]))
    rows = [canvas.take(torch.tensor([row])) for row in range(6)]
    alone = [decode(HashDenoiser(), row, sampler=order, temperature=1.0)[0] for row in rows]
    for size in (64, 2):
        seen = []
        found = decode(HashDenoiser(), canvas, sampler=order, temperature=1.0, batch=size, on_step=seen.append)
        assert found == alone
        assert {row for step in seen for row in step.rows.tolist()} == set(canvas.unfinished.nonzero()[:, 0].tolist())
    by_hand = decode_canvas(HashDenoiser(), rows[0], Learned(order.policy, slow), temperature=1.0)
    assert alone[0].revealed_at == by_hand.revealed_at[0][canvas.masked[0]].tolist()
    hurried = decode(HashDenoiser(), canvas, sampler=Learned(order.policy, fast), temperature=1.0)
    assert hurried[0] != alone[0]  # or the rules would be one
    assert hurried[1] == alone[1]


def test_rows_that_go_by_one_rule_share_a_batch():
    order = LearnedOrder(some_policy(), {4: DecodeRule("threshold", 0.4), 16: DecodeRule("threshold", 0.6)})
    canvas = replace(some_canvas(), step=torch.zeros(6, dtype=torch.long), budget=torch.tensor([2, 3, 4, 1, 16, 20]))
    sizes = []
    first = lambda step: step.number == 1 and sizes.append(len(step.rows))  # noqa: E731
    decode(HashDenoiser(), canvas, sampler=order, on_step=first)
    assert sizes == [3, 2]  # row 3 is finished


# ---- rows with nothing left


def test_finished_rows_have_no_law_and_spoil_no_gradient(policy, canvas, denoiser):
    law = policy(canvas, denoiser(canvas))
    finished = ~canvas.unfinished
    assert finished.any()
    assert (law.probabilities()[finished] == 0).all()
    drawn = law.sample(Draws(0).at(canvas))
    assert torch.equal(drawn.any(-1), canvas.unfinished)
    log_prob = law.log_prob(drawn)
    assert (log_prob[finished] == 0).all()
    (log_prob.sum() + law.entropy().sum()).backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_canvas_where_all_is_written_has_an_empty_law(policy, canvas, denoiser):
    done = replace(canvas, masked=torch.zeros_like(canvas.masked))
    law = policy(done, denoiser(done))
    assert not law.sample(Draws(0).at(done)).any()
    assert (law.log_prob(done.masked) == 0).all()


# ---- before the first update


def test_the_untrained_network_is_its_skip_connection():
    """g = -log(steps left - 1) + 0.8 (log-odds(max probability) - 2.2), worked out for one row."""
    policy = PolicyNetwork(PolicyConfig(0)).initialise(torch.Generator().manual_seed(0))
    masked = torch.tensor([[True, True, False, True]])
    canvas = replace(Canvas.make(torch.zeros(1, 4, dtype=torch.long), masked, 6), step=torch.tensor([1]))
    top = [0.9, 0.6, 0.99]
    logits = torch.tensor([[p, 1 - p] for p in top]).log()
    law = policy(canvas, Denoised.from_logits(canvas, logits))
    expected = [-math.log(4) + 0.8 * (math.log(p / (1 - p)) - 2.2) for p in top]
    assert law.logits[masked].tolist() == pytest.approx(expected, abs=1e-4)


def test_at_the_last_step_the_untrained_network_reveals_nearly_all():
    policy = PolicyNetwork(PolicyConfig(0)).initialise(torch.Generator().manual_seed(0))
    canvas = Canvas.make(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool), 1)
    law = policy(canvas, Denoised.from_logits(canvas, torch.zeros(3, 2)))
    # log(999) - 0.8 * 2.2 = 5.1
    assert law.probabilities().tolist()[0] == pytest.approx([1 / (1 + math.exp(-math.log(1000) + 1.76))] * 3, abs=1e-4)


def test_the_same_seed_initialises_the_same_policy():
    one, two = (PolicyNetwork(PolicyConfig(WIDTH)).initialise(torch.Generator().manual_seed(4)) for _ in range(2))
    for (name, a), (_, b) in zip(one.state_dict().items(), two.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


# ---- with any denoiser


def test_it_works_with_a_denoiser_that_gives_no_hidden_states(canvas):
    policy, denoiser = some_policy(width=0), HashDenoiser(hidden=False)
    together = probabilities(policy, canvas, denoiser)
    assert ((together > 0) == canvas.masked).all()
    # and does not look at them where there are some
    assert torch.equal(probabilities(policy, canvas, HashDenoiser()), together)


@pytest.mark.parametrize("features", [False, True])
def test_it_decodes_with_an_exact_tabular_denoiser(features):
    denoiser = TableDenoiser.of(random_joint(0, 4, 2), features=features)
    width = 4 * 3 + 4 if features else 0
    canvas = Canvas.make(torch.zeros(5, 4, dtype=torch.long), torch.ones(5, 4, dtype=torch.bool), 2)
    policy = some_policy(width) if not features else some_policy(width).float()
    decoded = decode_canvas(denoiser, canvas, Learned(policy), temperature=1.0)
    assert not decoded.canvas.masked.any()
    assert (decoded.steps <= 2).all()


def test_an_order_made_for_another_denoiser_is_refused_with_the_widths(canvas):
    with pytest.raises(UserError, match=r"hidden states of width 7 and the denoiser gives 6"):
        probabilities(some_policy(width=7), canvas, HashDenoiser())
    with pytest.raises(UserError, match=r"hidden states of width 6 and the denoiser gives 0"):
        probabilities(some_policy(), canvas, HashDenoiser(hidden=False))
    exact = exact_denoiser(0, 3, 2)
    small = Canvas.make(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool), 2)
    with pytest.raises(UserError, match="use the denoiser it was learned for"):
        some_policy()(small, exact(small))


def test_a_float32_policy_reads_bfloat16_hidden_states(canvas):
    denoised = HashDenoiser()(canvas)
    policy = some_policy().float()
    rough = policy(canvas, replace(denoised, hidden=denoised.hidden.bfloat16()))
    assert rough.logits.dtype == torch.float32
    exact = policy(canvas, replace(denoised, hidden=denoised.hidden.bfloat16().float()))
    assert torch.equal(rough.logits, exact.logits)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="width 9 does not split into 2 heads"):
        PolicyNetwork(PolicyConfig(width=9))


assert VOCABULARY > 2  # the end token of the test above is one of it
