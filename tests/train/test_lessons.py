"""Lessons by hand, on tables of two positions where the two most probable tokens make a text that is never written."""

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.table import TableDenoiser
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import make_sampler
from unmask.samplers.base import Selection, Stateless
from unmask.samplers.decode import decode_canvas
from unmask.train import lessons as module
from unmask.train.lessons import (
    coins_of,
    join,
    largest_probability,
    make_lesson,
    none_of,
    read_lesson,
    take,
    write_lesson,
)
from unmask.train.shards import shard_path

# 01 with .40, 10 with .35, 11 with .25: by itself each position is most probably 1 (.60 and .65).
MIXED = TableDenoiser.of(torch.tensor([[0.0, 0.40], [0.35, 0.25]], dtype=torch.float64), features=True)
MIXED_WIDTH = 2 * 3 + 2  # of its hidden states
TEACHER = make_sampler("frontier:level=0.98", None)  # 1, then 0, for p(second = 0 | first = 1) = .35 / .60


@pytest.fixture(autouse=True)
def all_that_is_passed_through(monkeypatch):
    monkeypatch.setattr(module, "PASSED", 1.0)


def canvas(rows: int = 1, budget: int = 3) -> Canvas:
    tokens = torch.full((rows, 2), 5)  # what stands at a masked position means nothing
    return Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), budget)


def surest_first(canvas, denoised):
    """Far below every level: the position with the larger probability goes, alone."""
    return largest_probability(canvas, denoised) - 0.5


def leftmost_first(canvas, denoised):
    return 0.1 - 0.01 * torch.arange(canvas.masked.shape[1]).expand(canvas.masked.shape)


def accepting(*texts: list[int]):
    def judge(tokens: torch.Tensor, canvas: Canvas) -> torch.Tensor:
        return torch.tensor([row in texts for row in tokens.tolist()], dtype=torch.bool)

    return judge


def lesson_of(walker, judge, rows=1, budget=3):
    return make_lesson(canvas(rows, budget), walker, MIXED, TEACHER, judge, Draws(0))


def walked(lesson):
    """Without the canvas that the slow decode of `MIXED` passes through from the start: the first position written."""
    passed = torch.arange(len(lesson.canvas.row)) == 1
    assert lesson.canvas.masked[passed].tolist() == [[False, True]]
    assert lesson.canvas.row[passed].item() == 0
    return take(lesson, ~passed)


def test_what_the_slow_decode_would_write_is_right_and_the_rest_of_the_best_guesses_is_not() -> None:
    lesson = walked(lesson_of(leftmost_first, accepting([1, 0])))
    assert lesson.canvas.step.tolist() == [0, 1]
    assert lesson.canvas.masked.tolist() == [[True, True], [False, True]]
    assert lesson.right.tolist() == [[True, False], [False, True]], "1 1 is written by nobody; after the first 1, 0 is"
    assert lesson.canvas.tokens[1, 0] == 1


def test_the_canvases_that_the_slow_decode_passes_through_are_lessons_too() -> None:
    """The walker writes the second position first; the slow decode, from the start, the first: that canvas as well."""
    lesson = lesson_of(surest_first, accepting([1, 0], [0, 1]), budget=4)
    assert lesson.canvas.masked.tolist() == [[True, True], [False, True], [True, False]]
    assert lesson.canvas.step.tolist() == [0, 1, 1]
    assert lesson.canvas.budget.tolist() == [4, 4, 4]
    assert lesson.right.tolist() == [[True, False], [False, True], [True, False]]
    assert lesson.canvas.tokens[1, 0] == 1
    assert lesson.canvas.tokens[2, 1] == 1
    again = MIXED(lesson.canvas)
    assert torch.equal(lesson.denoised.top2, again.top2), "what was said at that pass, not at the first"


def test_a_canvas_that_was_passed_through_counts_as_reached_with_a_step_to_come() -> None:
    """Four positions one by one, three steps at most: the last decision of a hurried decode is at the second."""
    joint = torch.rand(2, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    table = TableDenoiser.of(joint / joint.sum(), features=True)
    start = Canvas.make(torch.full((1, 4), 5), torch.ones(1, 4, dtype=torch.bool), 3)
    slow = module.go_on(start, table, Watched())
    found = [module.of_pass(number, start, slow, torch.tensor([True])).canvas for number in range(4)]
    assert [each.masked.sum().item() for each in found] == [4, 3, 2, 1]
    assert [each.step.item() for each in found] == [0, 1, 1, 1]
    refused = [module.of_pass(number, start, slow, torch.tensor([False])) for number in range(4)]
    assert [len(each.canvas.row) for each in refused] == [0, 0, 0, 0]


def test_after_a_mistake_the_slow_decode_starts_anew_from_the_canvas_with_the_mistake_on_it() -> None:
    """Second position first: 1 stands there, where the answer had 0, and from there 0 1 is written."""
    lesson = walked(lesson_of(surest_first, accepting([1, 0], [0, 1])))
    assert lesson.canvas.step.tolist() == [0, 1]
    assert lesson.right.tolist() == [[True, False], [True, False]]
    assert lesson.canvas.tokens[1, 1] == 1


def test_of_the_canvases_that_are_passed_through_a_quarter_is_kept_whatever_the_neighbours(monkeypatch) -> None:
    """At a budget of 2 the walker decides once, so that all others were passed through: 400 rows, one each."""
    monkeypatch.undo()
    whole = lesson_of(surest_first, accepting([1, 0]), rows=400, budget=2)
    passed = whole.canvas.masked.sum(-1) == 1
    assert int((~passed).sum()) == 400
    assert abs(int(passed.sum()) - 100) < 3 * 8.7, "standard error of a quarter of 400 is 8.7"
    kept = set(whole.canvas.row[passed].tolist())
    for row in range(20):
        alone = make_lesson(
            canvas(400, 2).take(torch.tensor([row])), surest_first, MIXED, TEACHER, accepting([1, 0]), Draws(0)
        )
        assert len(alone.canvas.row) == 1 + (row in kept)


def test_where_the_answer_is_not_correct_nothing_is_taught_from_there_on() -> None:
    assert walked(lesson_of(surest_first, accepting([1, 0]))).canvas.step.tolist() == [0], "0 1 was refused"
    assert len(lesson_of(surest_first, accepting([0, 1])).canvas.row) == 0, "1 0 was refused"


@pytest.mark.parametrize(("budget", "steps"), [(1, []), (2, [0, 0]), (3, [0, 1, 1]), (9, [0, 1, 1])])
def test_the_last_step_reveals_all_so_there_is_nothing_to_learn_at_it(budget: int, steps: list[int]) -> None:
    assert lesson_of(leftmost_first, accepting([1, 0]), budget=budget).canvas.step.tolist() == steps


class Watched(Stateless):
    """Left to right, one position a step; `seen` of every call: steps left, and positions."""

    reads_tokens = False
    may_be_empty = False

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def select(self, canvas, denoised, written, state, draws):
        self.seen += zip(canvas.steps_left.tolist(), canvas.masked.sum(-1).tolist(), strict=True)
        return Selection(canvas.masked & (canvas.masked.cumsum(-1) == 1), canvas.masked.double()), state


def test_the_slow_decode_has_a_step_for_each_position_whatever_is_left_of_the_budget() -> None:
    """From the start, of budget 2 and 3 positions; and from the second step of three."""
    joint = torch.rand(2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    table, teacher, judged = TableDenoiser.of(joint / joint.sum(), features=True), Watched(), []

    def judge(tokens: torch.Tensor, canvas: Canvas) -> torch.Tensor:
        judged.append(len(tokens))
        return torch.ones(len(tokens), dtype=torch.bool)

    tokens = torch.zeros(2, 3, dtype=torch.long)
    start = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), torch.tensor([2, 3]))
    make_lesson(start, surest_first, table, teacher, judge, Draws(0))
    assert judged == [2, 1], "both at the start, and again the one with a decision ahead"
    assert teacher.seen == [(3, 3), (3, 3), (2, 2), (2, 2), (1, 1), (1, 1), (2, 2), (1, 1)]


def test_it_is_asked_at_every_canvas_since_what_goes_with_what_stands_there_may_be_another_answer() -> None:
    """From the left 1 1 0 is written. Its 0 alone goes with 0 0 0 still better, which is right then."""
    joint = torch.zeros(2, 2, 2, dtype=torch.float64)
    joint[1, 1, 0], joint[1, 0, 1], joint[1, 1, 1], joint[0, 0, 0] = 0.25, 0.20, 0.15, 0.40
    table = TableDenoiser.of(joint, features=True)
    start = Canvas.make(torch.full((1, 3), 5), torch.ones(1, 3, dtype=torch.bool), 3)

    def rightmost_first(canvas, denoised):
        return 0.1 + 0.01 * torch.arange(3).expand(canvas.masked.shape)

    lesson = make_lesson(start, rightmost_first, table, TEACHER, accepting([1, 1, 0], [0, 0, 0]), Draws(0))
    right = {tuple(masked.tolist()): lesson.right[at].tolist() for at, masked in enumerate(lesson.canvas.masked)}
    assert right[True, True, True] == [True, False, True]
    assert right[True, True, False] == [True, True, False]


def test_the_teacher_may_read_whole_distributions_and_its_first_pass_is_the_walks() -> None:
    """`klass` compares distributions, which no lesson keeps. One pass at the second canvas, all others at the start."""
    passes = []

    def counted(canvas: Canvas):
        passes.append(len(canvas.row))
        return MIXED(canvas)

    teacher = make_sampler("klass", None)
    lesson = make_lesson(canvas(), leftmost_first, counted, teacher, accepting([1, 0], [0, 1], [1, 1]), Draws(0))
    assert len(lesson.canvas.row) == 3
    unhurried = canvas(budget=2)
    assert len(passes) == 1 + int(decode_canvas(MIXED, unhurried, teacher).nfe)


def test_canvases_on_which_all_is_certain_are_left_out() -> None:
    """0 0 or 1 1: after the first position the second is certain."""
    copies = TableDenoiser.of(torch.tensor([[0.6, 0.0], [0.0, 0.4]], dtype=torch.float64), features=True)
    lesson = make_lesson(canvas(), leftmost_first, copies, TEACHER, accepting([0, 0]), Draws(0))
    assert lesson.canvas.step.tolist() == [0]
    assert lesson.right.tolist() == [[True, True]]


def test_rows_have_levels_of_their_own_and_do_not_depend_on_their_neighbours() -> None:
    """At .9 everywhere: rows with a level below reveal both at once, those above one after the other."""

    def walker(canvas, denoised):
        return torch.full(canvas.masked.shape, 0.9)

    judge = accepting([1, 0], [0, 1], [1, 1])
    whole = lesson_of(walker, judge, rows=40)
    second = int((whole.canvas.step == 1).sum())
    assert (whole.canvas.step == 0).sum() == 40
    assert 40 + 8 < second < 40 + 25, "40 that were passed through; of levels from .8 to .97 four in ten are above .9"
    for row in (0, 7, 33):
        alone = make_lesson(canvas(40).take(torch.tensor([row])), walker, MIXED, TEACHER, judge, Draws(0))
        mine = take(whole, whole.canvas.row == row)
        assert torch.equal(alone.right, mine.right)
        assert torch.equal(alone.canvas.tokens, mine.canvas.tokens)
        assert torch.equal(alone.said["top2"], mine.said["top2"])


def test_a_policy_walks_by_its_coins_and_before_there_is_one_the_largest_probability_does() -> None:
    policy = PolicyNetwork(PolicyConfig(MIXED_WIDTH, width=8, layers=1)).initialise(torch.Generator().manual_seed(0))
    start = canvas(3)
    said = MIXED(start)
    assert torch.equal(coins_of(policy)(start, said), policy(start, said).probabilities())
    assert largest_probability(start, said)[0].tolist() == pytest.approx([0.60, 0.65])


def test_what_the_denoiser_said_is_that_of_the_canvas_beside_it() -> None:
    lesson = lesson_of(leftmost_first, accepting([1, 0]), rows=3)
    assert len(lesson.canvas.row) == 9
    again = MIXED(lesson.canvas)
    kept = lesson.denoised
    assert torch.equal(kept.where, again.where)
    assert torch.equal(kept.top2, again.top2)
    assert torch.equal(kept.entropy, again.entropy)


def test_a_lesson_is_read_as_it_was_written_also_one_without_a_canvas(tmp_path) -> None:
    lessons = [lesson_of(leftmost_first, accepting([1, 0])), none_of(canvas()), join([none_of(canvas())])]
    for number, lesson in enumerate(lessons):
        write_lesson(tmp_path, number, lesson)
        found = read_lesson(tmp_path, number, "cpu")
        assert torch.equal(found.right, lesson.right)
        assert all(torch.equal(getattr(found.canvas, name), getattr(lesson.canvas, name)) for name in module.CANVAS)
        assert found.said.keys() == lesson.said.keys()
        assert all(torch.equal(found.said[name], lesson.said[name]) for name in lesson.said)


def test_a_damaged_lesson_and_one_under_another_number_are_named(tmp_path) -> None:
    write_lesson(tmp_path, 0, lesson_of(leftmost_first, accepting([1, 0])))
    path = shard_path(tmp_path, 0)
    path.rename(shard_path(tmp_path, 1))
    with pytest.raises(UserError, match=r"shard-00001\.safetensors is damaged .*; delete it, and it is made again"):
        read_lesson(tmp_path, 1, "cpu")
    shard_path(tmp_path, 1).rename(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"shard-00000\.safetensors is damaged"):
        read_lesson(tmp_path, 0, "cpu")
