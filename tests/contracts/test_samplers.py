"""What must be true of every sampler, alone and inside every wrapper. A line in SAMPLERS is tested."""

from dataclasses import dataclass, fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws, mix, positions_from_first_valid, to_unit
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.orders.folder import LearnedOrder
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.reveals.bernoulli import Bernoulli
from unmask.samplers import (
    SAMPLERS,
    AnyUnmasker,
    DecodeRule,
    Edit,
    Editor,
    Learned,
    Selection,
    decode,
    decode_canvas,
    make_sampler,
    wrap,
)
from unmask.samplers.generate import decode as decode_texts
from unmask.samplers.iid import IID
from unmask.samplers.pick import pick_quota

VOCABULARY, END = 4, 3
FIXED_QUOTA = ("random", "left-to-right", "top-prob", "margin", "entropy", "pc", "least-certain", "halton")
WRAPPINGS = (
    *("", "block=3", "eot=defer", "eot=tail", "pace=true", "pace=exact", "block=2,eot=defer,pace=true"),
    "exit=prophet,answer=3,block=2",
)
PART_OF_ANOTHER = ("block=3", "eot=defer", "pace=true", "pace=exact")  # slow together, and the others have them too
QUICKLY_WRAPPED = ("random", "threshold", "slowfast")  # drawn, adaptive, with a state; around the others wraps are slow
AROUND_EDITORS = ("", "block=3")
EDITORS = tuple(name for name, kind in SAMPLERS.items() if hasattr(kind, "edit"))
UNMASKERS = tuple(name for name in SAMPLERS if name not in EDITORS)


def wrappings_of(name: str) -> tuple[str, ...]:
    """Every wrap for three kinds of sampler; around the others those that hold the single ones within them."""
    if name in EDITORS:
        return AROUND_EDITORS
    return WRAPPINGS if name in QUICKLY_WRAPPED else tuple(w for w in WRAPPINGS if w not in PART_OF_ANOTHER)


class HashDenoiser:
    """Logits that are a hash of everything visible in the row: exact integers, so that no rounding depends on
    padding or neighbours. Counts its calls by row identity."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}

    def __call__(self, canvas: Canvas) -> Denoised:
        return self.reread(canvas, torch.zeros_like(canvas.masked))

    def reread(self, canvas: Canvas, again: Tensor) -> Denoised:
        """At a written position: what it would say were only that one masked."""
        for row in canvas.row.tolist():
            self.calls[row] = self.calls.get(row, 0) + 1
        place = positions_from_first_valid(canvas.valid)
        words = mix(mix(place) + canvas.tokens)
        visible = canvas.valid & ~canvas.masked
        context = torch.where(visible, words, 0).sum(-1, keepdim=True)  # wraps around, in any order alike
        context = context - torch.where(visible, words, 0)
        canvas = canvas.remask(again)
        here = mix(context ^ mix(place))[canvas.masked]  # [M]
        logits = 8 * to_unit(mix(here[:, None] ^ mix(torch.arange(VOCABULARY))))
        return Denoised.from_logits(canvas, logits)


@dataclass
class Coarse(HashDenoiser):
    """The same in seventeen steps of a half, as a network of few bits says them: whole rows and tokens are often level.

    damage: (row identity, what one logit of its first position becomes); None leaves all as they are.
    """

    dtype: torch.dtype
    damage: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def reread(self, canvas: Canvas, again: Tensor) -> Denoised:
        denoised, asked = super().reread(canvas, again), canvas.remask(again)
        logits = ((denoised.logits(slice(None)) * 2).round() / 2).to(self.dtype)
        if self.damage is not None:
            row, value = self.damage
            first = positions_from_first_valid(asked.valid)[asked.masked] == 0
            logits[first & (asked.row[denoised.where[:, 0]] == row), 1 if value > -torch.inf else slice(None)] = value
        return Denoised.from_logits(asked, logits)


def coin_policy(canvas: Canvas, denoised: Denoised) -> Bernoulli:
    """Surer is sooner; a function of the canvas and the denoiser, as a policy is."""
    logits = denoised.to_rows(denoised.top2[:, 0].double() * 4 - 3, 0.0)
    return Bernoulli(logits, canvas.masked)


def timid_policy(canvas: Canvas, denoised: Denoised) -> Bernoulli:
    """The same without the condition: a step may be empty."""
    return replace(coin_policy(canvas, denoised), non_empty=False)


timid_policy.may_be_empty = True  # type: ignore[attr-defined]


def network_policy() -> PolicyNetwork:
    """A policy as it is learned, with a head that says something; float64, so that no rounding decides."""
    generator = torch.Generator().manual_seed(0)
    policy = PolicyNetwork(PolicyConfig(0, width=8, layers=1, hidden=8)).initialise(generator)
    with torch.no_grad():
        policy.head.weight.normal_(0.0, 1.0, generator=generator)
    return policy.double()


@dataclass(frozen=True)
class LikesToken:
    """Prefers positions where the drawn token is small, and keeps count: reads tokens, has a state."""

    reads_tokens = True
    may_be_empty = False

    def init(self, canvas: Canvas) -> dict[str, Tensor]:
        return {"count": torch.zeros_like(canvas.step)}

    def select(self, canvas, denoised, written, state, draws) -> tuple[Selection, dict[str, Tensor]]:
        score = -written.double() - 0.01 * state["count"][:, None]
        return pick_quota(canvas, score), {"count": state["count"] + 1}


@dataclass(frozen=True)
class Hesitant:
    """Often empty, and counts how often it was asked: the state must be of the row's own last question."""

    reads_tokens = False
    may_be_empty = True

    def init(self, canvas: Canvas) -> Tensor:
        return torch.zeros_like(canvas.step)

    def select(self, canvas, denoised, written, state, draws) -> tuple[Selection, Tensor]:
        uniform = draws.uniform("reveal")
        chance = torch.where(state % 2 == 0, 0.15, 0.3)[:, None]
        return Selection(canvas.masked & (uniform < chance), -uniform), state + 1


@dataclass(frozen=True)
class Undoes:
    """Reveals two, and asks for everything back, prompt, padding and all; reads tokens, has a state, may be empty."""

    reads_tokens = True
    may_be_empty = True
    rereads = False

    def init(self, canvas: Canvas) -> Tensor:
        return torch.zeros_like(canvas.step)

    def edit(self, canvas, denoised, written, state, draws) -> tuple[Edit, Tensor]:
        coin = draws.uniform("reveal")
        reveal = pick_quota(canvas, coin - written.double()).positions & (coin < 0.7)
        return Edit(reveal, draws.uniform("remask") < 0.1 * (1 + state % 3)[:, None]), state + 1


OTHERS: dict[str, AnyUnmasker] = {
    "learned, sampled": Learned(coin_policy),
    "learned, maybe empty": Learned(timid_policy),
    "learned, threshold": Learned(coin_policy, DecodeRule("threshold", level=0.6)),
    "learned, a network": Learned(network_policy(), DecodeRule("sample", sharpness=2.0)),
    "reads tokens": LikesToken(),
    "has a state and may be empty": Hesitant(),
}
CASES: dict[str, AnyUnmasker] = {
    f"{name}:{options}".rstrip(":"): make_sampler(f"{name}:{options}", end_token=END)
    for name in SAMPLERS
    for options in wrappings_of(name)
}
# other options than the published ones, so that short rows reach every branch
for spec in (
    *("entropy:alg_temp=0.5", "klass:level=0.3,kl=2,window=1", "klass:level=0,kl=1e9", "slowfast:explore=2,level=0.5"),
    *("wino:draft=0.2,least=3", "wino:draft=0.2,verify=0.99,most=2,block=4"),
    *("remdm:eta=0.5", "remdm:eta=1,conf=true,block=4"),
    "top-prob:exit=prophet",
    *("margin:schedule=linear", "random:schedule=linear,eps=0.2,block=4", "halton:schedule=linear", "iid:eps=0.1"),
    *("factor:published=true", "factor:factor=2,published=true,block=3"),
    *("top-prob:eot=zero", "entropy:eot=zero,block=4"),
    "random:exit=prophet,answer=1",
):
    CASES[spec] = make_sampler(spec, end_token=END)
for other, plain in OTHERS.items():
    CASES[other] = plain
    CASES[f"{other}, wrapped"] = wrap(plain, block=2, eot="tail", pace=False, end_token=END)
for spec in ("top-prob:eot=defer", "threshold:eot=tail,block=4", "iid:eot=defer", "slowfast:eot=tail,pace=true"):
    CASES[f"{spec}, two ends"] = make_sampler(spec, end_token=(END, 1))
CASES["undoes at random"] = Undoes()
CASES["undoes at random, wrapped"] = wrap(Undoes(), block=3)
OF_EDITORS = {name: case for name, case in CASES.items() if isinstance(case, Editor)}
OF_UNMASKERS = {name: case for name, case in CASES.items() if name not in OF_EDITORS}


def over(cases: dict[str, AnyUnmasker]) -> pytest.MarkDecorator:
    """One test for each case; most wraps are left to the whole suite, but for the editors'."""
    wrapped = {name: name.partition(":") for name in OF_UNMASKERS if name.partition(":")[2] in WRAPPINGS[1:]}
    slow = {
        name
        for name, (inner, _, options) in wrapped.items()
        if options in PART_OF_ANOTHER or inner not in QUICKLY_WRAPPED
    }
    marks = {name: [pytest.mark.slow] if name in slow else [] for name in cases}
    return pytest.mark.parametrize(
        "unmasker", [pytest.param(case, id=name, marks=marks[name]) for name, case in cases.items()]
    )


every_sampler, every_unmasker, every_editor = over(CASES), over(OF_UNMASKERS), over(OF_EDITORS)


@st.composite
def canvases(draw: st.DrawFn) -> Canvas:
    """Rows of different lengths, masked spans anywhere, padding on either side, a budget of their own."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 2),  # padding on the left
                st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=8),  # masked or visible
                st.integers(1, 9),  # budget
            ),
            min_size=3,
            max_size=5,
        )
    )
    length = max(left + len(masks) for left, masks, _ in rows)
    masked, valid = torch.zeros(2, len(rows), length, dtype=torch.bool)
    for row, (left, masks, _) in enumerate(rows):
        masked[row, left : left + len(masks)] = torch.tensor(masks)
        valid[row, left : left + len(masks)] = True
    tokens = (torch.arange(len(rows) * length).reshape(len(rows), length) * 7) % VOCABULARY
    return Canvas.make(tokens, masked, torch.tensor([budget for *_, budget in rows]), valid)


def some_examples(count: int):
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


def tensors(canvas: Canvas) -> list[Tensor]:
    return [getattr(canvas, field.name) for field in fields(canvas)]


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def decode_slowly(canvas: Canvas, unmasker: AnyUnmasker, seed: int, temperature: float) -> dict[str, Tensor]:
    """The reference: one row after the other, one position after the other, nothing shared or skipped."""
    tokens, revealed_at = canvas.tokens.clone(), torch.zeros_like(canvas.tokens)
    probability = torch.full(tokens.shape, torch.nan, dtype=torch.float64)
    steps, nfe = torch.zeros_like(canvas.step), torch.zeros_like(canvas.step)
    for b in range(len(canvas.row)):
        row, denoiser = canvas.take(torch.tensor([b])), HashDenoiser()
        start, state, denoised = row.masked, unmasker.init(row), None
        while row.masked.any():
            if denoised is None:
                again = start & ~row.masked if getattr(unmasker, "rereads", False) else torch.zeros_like(start)
                denoised, nfe[b] = denoiser.reread(row, again), nfe[b] + 1
            asked = row.masked | again
            uniform = Draws(seed).uniform(row, "token")[asked]
            drawn = torch.zeros_like(row.tokens).masked_scatter(asked, denoised.draw(uniform, temperature))
            written = drawn if unmasker.reads_tokens else None
            verb = unmasker.edit if isinstance(unmasker, Editor) else unmasker.select
            choice, state = verb(row, denoised, written, state, Draws(seed).at(row))
            last = int(row.budget - row.step) == 1
            chosen, back = row.masked if last else choice[0], torch.zeros_like(start)
            if isinstance(unmasker, Editor) and not last:
                back = choice.remask & start & ~row.masked
            steps[b] += 1
            for packed, (_, position) in enumerate(asked.nonzero().tolist()):
                if back[0, position]:
                    revealed_at[b, position], probability[b, position] = 0, torch.nan
                if chosen[0, position] and row.masked[0, position]:
                    tokens[b, position] = drawn[0, position]
                    revealed_at[b, position] = steps[b]
                    logits = denoised.logits(slice(packed, packed + 1)).float()[0]
                    probability[b, position] = logits.softmax(-1)[drawn[0, position]].double()
            revealed_at[b, back[0]], probability[b, back[0]] = 0, torch.nan
            if chosen.any() or back.any():
                denoised = None
            left = (row.masked & ~chosen) | back
            row = replace(row, tokens=tokens[b : b + 1].clone(), masked=left, step=row.step + 1)
    return {
        "tokens": tokens,
        "revealed_at": revealed_at,
        "steps": steps,
        "nfe": nfe,
        "probability": probability,
    }


@every_unmasker
@some_examples(4)
@given(canvas=canvases(), seed=st.integers(0, 3))
def test_a_step_reveals_masked_positions_only_and_advances_and_changes_no_input(unmasker, canvas, seed):
    """Finished rows stay in the batch here, to see that they are left alone."""
    state, denoiser = unmasker.init(canvas), HashDenoiser()
    while canvas.unfinished.any():
        denoised, draws = denoiser(canvas), Draws(seed).at(canvas)
        written = denoised.to_rows(denoised.top2_tokens[:, 0], 0) if unmasker.reads_tokens else None
        before = [tensor.clone() for tensor in tensors(canvas)]
        old_state, again = state, repr(state)
        selection, state = unmasker.select(canvas, denoised, written, state, draws)
        for now, then in zip(tensors(canvas), before, strict=True):
            assert_same(now, then)
        assert repr(old_state) == again, "the state is returned, not changed"
        assert selection.priority.shape == selection.positions.shape == canvas.masked.shape
        assert not (selection.positions & ~canvas.masked).any()
        advanced = selection.positions.any(-1) | ~canvas.unfinished
        assert unmasker.may_be_empty or advanced.all()
        positions = selection.positions | (canvas.masked & canvas.last_step[:, None])
        canvas = canvas.reveal(positions, torch.zeros_like(canvas.tokens))


@pytest.mark.slow
@every_editor
@some_examples(8)
@given(canvas=canvases(), seed=st.integers(0, 3))
def test_an_edit_changes_no_input_and_its_own_promises_hold(unmasker, canvas, seed):
    """Finished rows stay in the batch here. What is asked back although it may not be is the loop's to refuse."""
    start, state, denoiser = canvas.masked, unmasker.init(canvas), HashDenoiser()
    taken_back = 0
    while canvas.unfinished.any():
        again = start & ~canvas.masked & unmasker.rereads
        denoised, draws = denoiser.reread(canvas, again), Draws(seed).at(canvas)
        written = denoised.to_rows(denoised.top2_tokens[:, 0], 0) if unmasker.reads_tokens else None
        before = [tensor.clone() for tensor in tensors(canvas)]
        old_state, said = state, repr(state)
        edit, state = unmasker.edit(canvas, denoised, written, state, draws)
        for now, then in zip(tensors(canvas), before, strict=True):
            assert_same(now, then)
        assert repr(old_state) == said, "the state is returned, not changed"
        assert edit.reveal.shape == edit.remask.shape == canvas.masked.shape
        assert not (edit.reveal & ~canvas.masked).any()
        allowed = edit.remask & start & ~canvas.masked & ~canvas.last_step[:, None]
        assert torch.equal(allowed, edit.remask & ~canvas.last_step[:, None]) or "Undoes" in repr(unmasker)
        advanced = edit.reveal.any(-1) | ~canvas.unfinished
        assert unmasker.may_be_empty or advanced.all()
        positions = edit.reveal | (canvas.masked & canvas.last_step[:, None])
        going = canvas.unfinished[:, None]  # a finished row is left alone
        canvas = canvas.reveal(positions, torch.zeros_like(canvas.tokens)).remask(allowed & going)
        taken_back += int((allowed & going).sum())
    assert not canvas.masked.any()


@pytest.mark.slow
@every_editor
def test_an_editor_does_take_back(unmasker):
    """So that nothing here is true for want of anything to do."""
    canvas = Canvas.make(torch.zeros(64, 16, dtype=torch.long), torch.ones(64, 16, dtype=torch.bool), 30)
    masked_again = 0

    def count(step) -> None:
        nonlocal masked_again
        masked_again += int((step.after.masked & ~step.before.masked).sum())

    decode_canvas(HashDenoiser(), canvas, unmasker, on_step=count)
    assert masked_again > 0


@pytest.mark.slow
@every_unmasker
@some_examples(4)
@given(canvas=canvases(), seed=st.integers(0, 3))
def test_inside_a_wrapper_only_what_is_left_open_counts(unmasker, canvas, seed):
    """On a restricted canvas the choice stays inside, and is as if the denoiser had spoken of no more."""
    open_here = to_unit(mix(torch.arange(canvas.masked.numel()) + seed)).reshape(canvas.masked.shape) < 0.6
    inside = canvas.restrict(open_here)
    denoised = HashDenoiser()(canvas)
    fewer = Denoised.from_logits(inside, denoised.logits(slice(None))[open_here[canvas.masked]])
    written = denoised.to_rows(denoised.top2_tokens[:, 0], 0) if unmasker.reads_tokens else None
    state, draws = unmasker.init(canvas), Draws(seed).at(canvas)
    ours, theirs = (unmasker.select(inside, said, written, state, draws)[0] for said in (denoised, fewer))
    assert not (ours.positions & ~inside.masked).any()
    assert_same(ours.positions, theirs.positions)


@pytest.mark.slow
@every_sampler
@some_examples(4)
@given(canvas=canvases(), seed=st.integers(0, 3), temperature=st.sampled_from([0.0, 0.7]))
def test_decode_equals_the_slow_reference_row_by_row(unmasker, canvas, seed, temperature):
    fast = decode_canvas(HashDenoiser(), canvas, unmasker, seed=seed, temperature=temperature, log_probs=True)
    slow = decode_slowly(canvas, unmasker, seed, temperature)
    assert_same(fast.canvas.tokens, slow["tokens"])
    assert_same(fast.revealed_at, slow["revealed_at"])
    assert_same(fast.steps, slow["steps"])
    assert_same(fast.nfe, slow["nfe"])
    torch.testing.assert_close(fast.probability, slow["probability"], rtol=1e-6, atol=0, equal_nan=True)
    total = slow["probability"].log().nan_to_num().sum(-1)
    torch.testing.assert_close(fast.log_prob, total, rtol=1e-6, atol=1e-6)


@every_sampler
@some_examples(4)
@given(canvas=canvases(), pads=st.sampled_from([(0, 3), (3, 0), (1, 2)]), temperature=st.sampled_from([0.0, 1.0]))
def test_a_row_does_not_depend_on_padding_order_or_neighbours(unmasker, canvas, pads, temperature):
    alone = decode_canvas(HashDenoiser(), canvas, unmasker, temperature=temperature, log_probs=True)
    order = torch.arange(len(canvas.row)).flip(0)
    turned = canvas.take(order)
    stranger = replace(turned, row=turned.row + 100, tokens=(turned.tokens + 1) % VOCABULARY)
    crowd = Canvas(*(torch.cat(pair) for pair in zip(tensors(stranger), tensors(turned), strict=True)))
    crowd = replace(
        crowd,
        tokens=torch.nn.functional.pad(crowd.tokens, pads, value=1),
        masked=torch.nn.functional.pad(crowd.masked, pads, value=False),
        valid=torch.nn.functional.pad(crowd.valid, pads, value=False),
    )
    among = decode_canvas(HashDenoiser(), crowd, unmasker, temperature=temperature, log_probs=True)
    inside = slice(pads[0], pads[0] + canvas.tokens.shape[1])
    back = len(order) + order  # the rows of `canvas`, in their order
    assert_same(among.canvas.tokens[back, inside], alone.canvas.tokens)
    assert_same(among.revealed_at[back, inside], alone.revealed_at)
    assert_same(among.probability[back, inside], alone.probability)
    for name in ("steps", "nfe", "log_prob"):
        assert_same(getattr(among, name)[back], getattr(alone, name))


@st.composite
def mixed_rows(draw: st.DrawFn) -> Canvas:
    """Two to six rows of own lengths, places, budgets (one to very many) and identities, some as large as they get."""
    count = draw(st.integers(2, 6))
    spans = [(draw(st.integers(0, 5)), draw(st.integers(1, 12)), draw(st.integers(0, 4))) for _ in range(count)]
    length = max(sum(span) for span in spans)
    budgets = [draw(st.sampled_from([1, 2, 3, 5, 8, 13, 40])) for _ in range(count)]
    keys = draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count, unique=True))
    words = mix(torch.arange(count * length).reshape(count, length) + draw(st.integers(0, 99)))
    column = torch.arange(length)
    valid = torch.stack([(column >= left) & (column < left + size) for left, size, _ in spans])
    return Canvas.make(words % VOCABULARY, to_unit(words) < 0.75, torch.tensor(budgets), valid, torch.tensor(keys))


def cropped(canvas: Canvas, row: int) -> Canvas:
    """A row by itself, without its padding."""
    here = canvas.take(torch.tensor([row]))
    columns = here.valid[0]
    return replace(here, **{name: getattr(here, name)[:, columns] for name in ("tokens", "masked", "valid")})


def assert_rows_are_what_they_are_alone(canvas: Canvas, write) -> None:
    """`write` decodes a canvas; every row of it must be the row by itself, to the last bit."""
    among = write(canvas)
    for row in range(len(canvas.row)):
        alone, columns = write(cropped(canvas, row)), canvas.valid[row]
        assert_same(among.canvas.tokens[row, columns], alone.canvas.tokens[0])
        for name in ("revealed_at", "probability"):
            assert_same(getattr(among, name)[row, columns], getattr(alone, name)[0])
        for name in ("steps", "nfe", "log_prob"):
            assert_same(getattr(among, name)[row], getattr(alone, name)[0])


PRECISIONS = (torch.bfloat16, torch.float32)


@every_sampler
@some_examples(3)
@given(canvas=mixed_rows(), precision=st.sampled_from(PRECISIONS), temperature=st.sampled_from([0.0, 1.0]))
def test_a_row_alone_is_the_row_among_others_of_other_budgets_lengths_and_keys(
    unmasker, canvas, precision, temperature
):
    """Where the numbers are so coarse that positions and tokens are level, too: ties are the row's own."""
    assert_rows_are_what_they_are_alone(
        canvas,
        lambda rows: decode_canvas(
            Coarse(precision), rows, unmasker, seed=5, temperature=temperature, log_probs=True
        ),
    )


@pytest.mark.slow
@every_sampler
@some_examples(5)
@given(canvas=mixed_rows(), precision=st.sampled_from(PRECISIONS), temperature=st.sampled_from([0.0, 0.7, 1.0]))
def test_a_row_alone_is_the_row_among_many_others(unmasker, canvas, precision, temperature):
    assert_rows_are_what_they_are_alone(
        canvas,
        lambda rows: decode_canvas(
            Coarse(precision), rows, unmasker, seed=6, temperature=temperature, log_probs=True
        ),
    )


RULES = {2: DecodeRule("threshold", 0.3), 5: DecodeRule("sample"), 13: DecodeRule("threshold", 0.9, pace=True)}
ORDER = LearnedOrder(network_policy(), RULES)


@some_examples(10)
@given(canvas=mixed_rows(), precision=st.sampled_from(PRECISIONS), temperature=st.sampled_from([0.0, 1.0]))
def test_a_learned_order_writes_a_row_alone_as_among_others_of_other_budgets(canvas, precision, temperature):
    """Every budget has its rule, and none may reach a row of another."""
    options = {"sampler": ORDER, "temperature": temperature, "log_probs": True, "seed": 7}
    among = decode_texts(Coarse(precision), canvas, **options)
    for row, found in enumerate(among):
        (alone,) = decode_texts(Coarse(precision), cropped(canvas, row), **options)
        assert found.tokens == alone.tokens
        assert found.revealed_at == alone.revealed_at
        assert (found.steps, found.nfe) == (alone.steps, alone.nfe)
        assert found.log_prob == alone.log_prob


@every_sampler
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=["NaN", "infinite", "nothing possible"])
def test_logits_that_are_no_distribution_are_refused_by_row_and_step(unmasker, value):
    """Only one position of one row of three; whatever the sampler looks at, no token of it is written."""
    masked = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]]).bool()
    canvas = Canvas.make(torch.zeros(3, 4, dtype=torch.long), masked, torch.tensor([3, 9, 2]))
    canvas = replace(canvas, row=torch.tensor([8, 9, 7]))
    for temperature in (0.0, 1.0):
        decode_canvas(Coarse(torch.float32), canvas, unmasker, temperature=temperature)
        with pytest.raises(UserError, match=r"position 0 of row 9, at step \d+, so there is"):
            decode_canvas(Coarse(torch.float32, (9, value)), canvas, unmasker, temperature=temperature)


@pytest.mark.slow
@every_sampler
@some_examples(4)
@given(canvas=canvases(), seed=st.integers(0, 3))
def test_decode_ends_within_budget_counts_its_calls_and_touches_nothing_else(unmasker, canvas, seed):
    before, generator = [tensor.clone() for tensor in tensors(canvas)], torch.get_rng_state()
    denoiser = HashDenoiser()
    first = decode_canvas(denoiser, canvas, unmasker, seed=seed, temperature=1.0)
    again = decode_canvas(HashDenoiser(), canvas, unmasker, seed=seed, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), generator)
    for now, then in zip(tensors(canvas), before, strict=True):
        assert_same(now, then)
    assert_same(first.canvas.tokens, again.canvas.tokens)
    assert not first.canvas.masked.any()
    assert_same(first.canvas.tokens[~canvas.masked], canvas.tokens[~canvas.masked])
    assert_same(first.revealed_at > 0, canvas.masked)
    assert (first.steps <= canvas.budget).all()
    assert first.nfe.tolist() == [denoiser.calls.get(row, 0) for row in canvas.row.tolist()]
    assert (first.nfe <= canvas.masked.sum(-1)).all() or isinstance(unmasker, Editor)
    if not unmasker.may_be_empty:
        assert_same(first.nfe, first.steps)


MAY_BE_EMPTY = {name: case for name, case in CASES.items() if case.may_be_empty}


@pytest.mark.parametrize("unmasker", MAY_BE_EMPTY.values(), ids=MAY_BE_EMPTY.keys())
def test_steps_that_are_foreseen_to_be_empty_are_those_that_are(unmasker, monkeypatch):
    """Budgets far beyond the positions, one by one or as the sampler foresees them; neighbours of other budgets."""
    masked = torch.tensor([[1, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0]]).bool()
    canvas = Canvas.make(torch.arange(18).reshape(3, 6) % VOCABULARY, masked, torch.tensor([40, 7, 90]))
    for seed in range(2):
        ahead = decode_canvas(HashDenoiser(), canvas, unmasker, seed=seed, temperature=1.0)
        with monkeypatch.context() as patched:
            patched.setattr(decode, "idle", lambda unmasker, canvas, *_: torch.zeros_like(canvas.step))
            one_by_one = decode_canvas(HashDenoiser(), canvas, unmasker, seed=seed, temperature=1.0)
        assert_same(ahead.canvas.tokens, one_by_one.canvas.tokens)
        assert_same(ahead.revealed_at, one_by_one.revealed_at)
        assert_same(ahead.steps, one_by_one.steps)
        assert_same(ahead.nfe, one_by_one.nfe)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if make_sampler(name).may_be_empty])
def test_a_budget_whose_steps_would_all_be_gone_through_has_an_end(name):
    canvas = Canvas.make(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool), 10**9)
    with pytest.raises(UserError, match="budget must be at most 10000 for a sampler that may leave steps empty"):
        decode_canvas(HashDenoiser(), canvas, make_sampler(name))


def test_a_sampler_that_reveals_at_every_step_takes_any_budget():
    canvas = Canvas.make(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool), 10**9)
    for name, kind in SAMPLERS.items():
        if not make_sampler(name).may_be_empty:
            assert not decode_canvas(HashDenoiser(), canvas, kind()).canvas.masked.any()


def test_many_empty_steps_are_tossed_together():
    """Ten thousand steps for eight positions: some hundred rounds of choosing, not ten thousand."""
    rounds = []

    class Counted(IID):
        def select(self, canvas, denoised, written, state, draws):
            rounds.append(1)
            return super().select(canvas, denoised, written, state, draws)

    canvas = Canvas.make(torch.zeros(1, 8, dtype=torch.long), torch.ones(1, 8, dtype=torch.bool), 10_000)
    assert decode_canvas(HashDenoiser(), canvas, Counted()).steps.item() > 5000
    assert len(rounds) < 50


@pytest.mark.slow
@pytest.mark.parametrize("spec", [*FIXED_QUOTA, *(f"{name}:pace=exact" for name in UNMASKERS)])
@some_examples(4)
@given(canvas=canvases())
def test_fixed_quota_and_exact_pace_take_every_step_they_may(spec, canvas):
    decoded = decode_canvas(HashDenoiser(), canvas, make_sampler(spec), seed=1)
    assert_same(decoded.steps, torch.minimum(canvas.budget, canvas.masked.sum(-1)))


@pytest.mark.parametrize("name", UNMASKERS)
def test_a_paced_sampler_never_reveals_more_at_its_last_step_than_an_even_share(name):
    canvas = Canvas.make(torch.zeros(6, 12, dtype=torch.long), torch.ones(6, 12, dtype=torch.bool), 4)
    decoded = decode_canvas(HashDenoiser(), canvas, make_sampler(f"{name}:pace=true"), temperature=1.0)
    last = (decoded.revealed_at == 4).sum(-1)
    assert (last <= 3).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_seed_gives_another_answer_where_tokens_are_drawn(name):
    canvas = Canvas.make(torch.zeros(4, 8, dtype=torch.long), torch.ones(4, 8, dtype=torch.bool), 4)
    one, two = (
        decode_canvas(HashDenoiser(), canvas, make_sampler(name), seed=seed, temperature=1.0).canvas.tokens
        for seed in (0, 1)
    )
    assert not torch.equal(one, two)


@pytest.mark.slow
@every_sampler
def test_a_row_is_the_same_alone_and_in_batches_of_2_7_and_32(unmasker):
    """Short and long neighbours, nearly finished ones, padding on one side or the other: tokens and steps stay."""
    here = Canvas.make(
        torch.tensor([[1, 2, 0, 0, 0, 3, 0, 0, 0, 0]]),
        torch.tensor([[False, False, True, True, True, False, True, True, True, True]]),
        5,
        row=torch.tensor([77]),
    )
    alone = decode_canvas(HashDenoiser(), here, unmasker, seed=2, temperature=1.0)
    for size, left in ((2, 6), (7, 0), (32, 3)):
        words = mix(torch.arange(size * 16).reshape(size, 16) + left)
        batch = Canvas.make(
            words % VOCABULARY,
            to_unit(words) < 0.8,
            torch.arange(size) % 9 + 1,
            torch.arange(16) >= torch.arange(size)[:, None] % 7,
            100 + torch.arange(size),
        )
        place, inside = size // 2, slice(left, left + 10)
        batch.valid[place], batch.masked[place] = False, False
        for ours, theirs in zip(tensors(batch)[:3], tensors(here)[:3], strict=True):
            ours[place, inside] = theirs[0]
        for name in ("step", "budget", "row"):
            getattr(batch, name)[place] = getattr(here, name)[0]
        among = decode_canvas(HashDenoiser(), batch, unmasker, seed=2, temperature=1.0)
        assert_same(among.canvas.tokens[place, inside], alone.canvas.tokens[0])
        assert_same(among.revealed_at[place, inside], alone.revealed_at[0])
        assert_same(among.probability[place, inside], alone.probability[0])
        assert_same(among.steps[place], alone.steps[0])
        assert_same(among.nfe[place], alone.nfe[0])
