"""The SGLang algorithm in a stub of the engine: what a block becomes is what our own loop writes."""

import ast
import importlib
import inspect
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.orders.folder import LearnedOrder, load_order, save_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import SAMPLERS, make_sampler
from unmask.samplers.base import Editor
from unmask.samplers.decode import decode_canvas
from unmask.samplers.learned import DecodeRule
from unmask.serve import sglang_plugin
from unmask.serve.sglang_plugin import Settings, register

from . import sglang_stub as stub

BLOCK, VOCABULARY, MASK = 6, 8, 7
THEIRS = stub.their_base()
UNSUITED = {name for name in SAMPLERS if isinstance(made := make_sampler(name), Editor) and made.rereads}


@pytest.fixture(params=["stub", "theirs"])
def engine(request, monkeypatch):
    """The stub, and SGLang's own algorithm file inside it where there is one."""
    if request.param == "theirs" and THEIRS is None:
        pytest.skip("sglang is not on the path")
    stub.install(monkeypatch, THEIRS if request.param == "theirs" else None)
    register()
    found = sys.modules["sglang.srt.dllm.algorithm"].algo_name_to_cls["Unmask"]
    yield lambda fdfo=False, **settings: found(stub.DllmConfig("Unmask", settings, BLOCK, MASK, 4, fdfo))
    sys.modules.pop("unmask.serve.sglang_algorithm", None)


def network(tokens: torch.Tensor) -> torch.Tensor:
    """[B, L, V]: logits that depend on every token of the row, and on nothing else."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(BLOCK, BLOCK, VOCABULARY, VOCABULARY, generator=generator)
    at = torch.arange(BLOCK)
    return sum(table[:, place, tokens[:, place]].transpose(0, 1) for place in at) * 1.5


def ours(tokens: list[int], unmasker, budget: int, row: int = 0, **options) -> list[int]:
    """The block by `decode_canvas`."""

    def denoiser(canvas: Canvas) -> Denoised:
        logits = network(torch.where(canvas.masked, MASK, canvas.tokens))[canvas.masked].float()
        logits[:, MASK] = float("-inf")
        return Denoised.from_logits(canvas, logits)

    block = torch.tensor([tokens])
    canvas = Canvas.make(block, block == MASK, budget, row=torch.tensor([row]))
    return decode_canvas(denoiser, canvas, unmasker, **options).canvas.tokens[0].tolist()


def batch(blocks: list[list[int]], rids=None, start: int = 0, prompt_mask=None) -> stub.ForwardBatch:
    positions = (torch.arange(BLOCK) + start).repeat(len(blocks))
    return stub.ForwardBatch(len(blocks), torch.tensor(blocks).flatten(), positions, rids, prompt_mask)


def row(rid: str, block: int = 0) -> int:
    import zlib

    return (zlib.crc32(rid.encode()) << 20) + block


BLOCKS = [[1, 2, MASK, MASK, MASK, MASK], [MASK] * BLOCK, [3, 4, 5, 0, 1, MASK]]
IDS = ["a", "b", "c"]


@pytest.mark.parametrize("spec", sorted(set(SAMPLERS) - UNSUITED))
def test_whole_blocks_become_what_our_loop_writes(engine, spec: str) -> None:
    algorithm = engine(sampler=spec, budget=3)
    runner = stub.ModelRunner(network, BLOCK)
    forward_batch = batch(BLOCKS, IDS)
    kept = forward_batch.input_ids
    _, written, *_ = algorithm.run(runner, forward_batch)
    wanted = [ours(block, make_sampler(spec), 3, row(name)) for block, name in zip(BLOCKS, IDS, strict=True)]
    assert [tokens.tolist() for tokens in written] == [wanted[0][2:], wanted[1], wanted[2][5:]]
    assert forward_batch.input_ids is kept
    assert runner.calls <= 4  # the budget, and once more so that the last tokens reach the cache


@pytest.mark.parametrize("ends", [0, [0, 4], [4]])
def test_an_end_rule_heeds_every_end_token_of_the_configuration(engine, ends) -> None:
    algorithm = engine(sampler="top-prob:eot=defer", end_token=ends, budget=BLOCK)
    _, written, *_ = algorithm.run(stub.ModelRunner(network, BLOCK), batch([[MASK] * BLOCK], ["a"]))
    assert written[0].tolist() == ours([MASK] * BLOCK, make_sampler("top-prob:eot=defer", ends), BLOCK, row("a"))


def test_an_end_token_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="an end token is a whole number of at least 0"):
        Settings.read({"end_token": "</s>"})


@pytest.mark.parametrize("spec", ["margin", "random", "klass", "pc", "remdm"])
def test_rounds_whose_requests_come_and_go_give_the_same_blocks(engine, spec: str) -> None:
    """First done, first out: after every round the finished leave, one more joins, and the order is turned around."""
    algorithm = engine(fdfo=True, sampler=spec, budget=4)
    requests = list(zip("abcde", [*BLOCKS, [MASK, 1] * 3, [2, MASK, MASK] * 2], strict=True))
    waiting = list(requests)
    here = {name: (block, None) for name, block in [waiting.pop(0), waiting.pop(0)]}
    found = {}
    for _ in range(40):
        names = list(here)
        states = [here[name][1] for name in names]
        _, blocks, accepted, states, _ = algorithm.run(
            stub.ModelRunner(network, BLOCK), batch([here[name][0] for name in names], names), states
        )
        for name, block, count, state in zip(names, blocks, accepted, states, strict=True):
            assert not count or block == here[name][0]  # the forward of this round has seen the final tokens
            here[name] = block, state
            if count:
                found[name] = here.pop(name)[0]
        here = dict(reversed(here.items()))
        if waiting:
            name, block = waiting.pop(0)
            here[name] = block, None
        if not here:
            break
    for name, block in requests:
        assert found[name] == ours(block, make_sampler(spec), 4, row(name)), name


def test_draws_differ_by_request_block_and_seed_and_are_repeated_by_name(engine) -> None:
    def written(seed=0, start=0, rid="a"):
        algorithm = engine(sampler="random", budget=2, temperature=1.0, seed=seed)
        return algorithm.run(stub.ModelRunner(network, BLOCK), batch([[MASK] * BLOCK], [rid], start))[1][0].tolist()

    first = written()
    assert first == written()
    assert first == ours([MASK] * BLOCK, make_sampler("random"), 2, row("a"), temperature=1.0)
    later = ours([MASK] * BLOCK, make_sampler("random"), 2, row("a", 2), temperature=1.0)
    assert written(start=2 * BLOCK) == later
    assert len({tuple(each) for each in (first, written(seed=1), later, written(rid="b"))}) == 4


def test_a_mask_token_in_the_prompt_stays(engine) -> None:
    given = torch.tensor([[True, True, False, False, False, False]])
    block = [MASK, 2, MASK, MASK, MASK, MASK]
    forward_batch = batch([block], prompt_mask=given)
    _, written, *_ = engine(budget=2).run(stub.ModelRunner(network, BLOCK), forward_batch)
    assert forward_batch.input_ids.tolist()[:2] == [MASK, 2]
    assert MASK not in written[0].tolist()


def test_blocks_of_prompt_alone_are_passed_once(engine) -> None:
    runner = stub.ModelRunner(network, BLOCK)
    assert engine().run(runner, batch([[1, 2, 3, 4, 5, 6]]))[1] == []
    assert runner.calls == 1


def test_a_learned_order_that_reads_logits_only_writes_as_it_does_with_us(engine, tmp_path: Path) -> None:
    policy = PolicyNetwork(PolicyConfig(0, 16, 1)).initialise(torch.Generator().manual_seed(0))
    save_order(LearnedOrder(policy, {3: DecodeRule("threshold", 0.4)}), tmp_path / "order")
    algorithm = engine(order=str(tmp_path / "order"), budget=3)
    _, written, *_ = algorithm.run(stub.ModelRunner(network, BLOCK), batch([BLOCKS[1]]))
    assert written[0].tolist() == ours(BLOCKS[1], load_order(tmp_path / "order").unmasker(3), 3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"samplr": "margin"}, "Did you mean `sampler`"),
        ({"sampler": "margn"}, "unknown sampler `margn`"),
        ({"sampler": 3}, "must be a text, got 3"),
        ({"sampler": "margin", "order": "x"}, "not both"),
        ({"budget": 0}, "budget must be"),
        ({"temperature": -1}, "temperature must be"),
        ({"temperature": float("inf")}, "temperature must be 0.*finite number"),
        ({"sampler": "wino"}, "looks again at what it wrote"),
        ({"order": "nowhere"}, "no learned order"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_sentence(values, said) -> None:
    with pytest.raises(UserError, match=said):
        Settings.read(values).unmasker(4)


def test_what_sglang_reads_of_the_configuration_is_left_to_it() -> None:
    assert Settings.read({"block_size": 4, "sampler": "margin"}) == Settings(sampler="margin")


def test_an_order_that_reads_hidden_states_is_refused(tmp_path: Path) -> None:
    save_order(LearnedOrder(PolicyNetwork(PolicyConfig(32, 16, 1)), {}), tmp_path / "order")
    with pytest.raises(UserError, match="hidden states of width 32"):
        Settings(order=str(tmp_path / "order")).unmasker(4)


def test_the_entry_point_names_the_function() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["sglang.srt.plugins"]["unmask"].partition(":")
    assert getattr(importlib.import_module(module), name) is sglang_plugin.register


@pytest.mark.skipif(THEIRS is None, reason="sglang is not on the path")
def test_the_stub_has_the_signatures_of_sglangs_own_file() -> None:
    tree = ast.parse(THEIRS.read_text())
    (theirs,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "DllmAlgorithm"]
    methods = {node.name: [a.arg for a in node.args.args] for node in theirs.body if isinstance(node, ast.FunctionDef)}
    constants = {node.target.id for node in theirs.body if isinstance(node, ast.AnnAssign)}
    constants |= {node.targets[0].id for node in theirs.body if isinstance(node, ast.Assign)}
    for name in ("__init__", "init_step_state", "prepare_inputs", "max_steps", "step", "run"):
        assert list(inspect.signature(getattr(stub.DllmAlgorithm, name)).parameters) == methods[name]
    assert constants == {name for name in vars(stub.DllmAlgorithm) if not name.startswith("_")} - set(methods)
    config = ast.parse((THEIRS.parents[1] / "config.py").read_text())
    (made,) = [node for node in config.body if isinstance(node, ast.ClassDef) and node.name == "DllmConfig"]
    (init,) = [node for node in made.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    assert [a.arg for a in init.args.args][1:] == list(inspect.signature(stub.DllmConfig).parameters)
