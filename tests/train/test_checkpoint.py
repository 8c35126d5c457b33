import pickle

import pytest
import torch
from safetensors.torch import save_file

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.train import checkpoint as checkpoint_module
from unmask.train.checkpoint import load_checkpoint, restoring, save_checkpoint
from unmask.train.optimizers import Optimizers, clip_gradient

TENSORS = {
    "a.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "a.count": torch.tensor(7),
    "b": torch.randn(5, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "turned": torch.arange(6).view(2, 3).T,
    "double": torch.tensor([1 / 3], dtype=torch.float64),
}


def test_tensors_and_meta_come_back_to_the_last_bit(tmp_path):
    meta = {"update": 3, "validation": {"accuracy": 1 / 3}, "text": "½"}
    save_checkpoint(tmp_path / "c", TENSORS | {"same": TENSORS["b"]}, meta)
    tensors, found = load_checkpoint(tmp_path / "c")
    assert found == meta
    assert tensors.keys() == TENSORS.keys() | {"same"}
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor), name


def test_a_save_that_fails_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "c", TENSORS, {"update": 1})

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_weights", full_disk)
    with pytest.raises(UserError, match=r"could not write .*c: No space left on device"):
        save_checkpoint(tmp_path / "c", TENSORS, {"update": 2})
    assert load_checkpoint(tmp_path / "c").meta == {"update": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, cut):
    save_checkpoint(tmp_path / "c.safetensors", TENSORS, {"update": 1})
    content = (tmp_path / "c.safetensors").read_bytes()
    (tmp_path / "c.safetensors").write_bytes(content[:cut])
    with pytest.raises(UserError, match=r"checkpoint .*c\.safetensors is damaged .*delete it to start again"):
        load_checkpoint(tmp_path / "c.safetensors")


def test_a_pickle_is_refused_unread(tmp_path):
    (tmp_path / "c").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="is damaged"):
        load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    "metadata", [None, {"version": "0", "meta": "{}"}, {"version": "1"}, {"meta": '{"version": "2"}'}, {"meta": "[1]"}]
)
def test_what_is_no_checkpoint_of_this_version_is_refused(tmp_path, metadata):
    save_file({"a": torch.zeros(1)}, tmp_path / "c", metadata=metadata)
    with pytest.raises(UserError, match=r"c is not a checkpoint of this version of unmask"):
        load_checkpoint(tmp_path / "c")


def test_tensors_that_do_not_fit_are_an_error_naming_the_checkpoint(tmp_path):
    network = torch.nn.Linear(2, 2)
    for wrong in ({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, {"weight": torch.zeros(2, 2)}):
        with (
            pytest.raises(UserError, match=r"checkpoint .*c does not fit this run .*(bias|weight)"),
            restoring(tmp_path / "c"),
        ):
            network.load_state_dict(wrong)


# ---- going on as if nothing had happened


def small_network():
    config = TransformerConfig(9, 0, 8, layers=2, width=8, heads=2, hidden=12)
    return Transformer(config).initialise(torch.Generator().manual_seed(0))


def train(network, optimizers, updates):
    """A loss that differs from update to update, so that moments matter."""
    for update in updates:
        tokens = torch.randint(1, 9, (3, 6), generator=torch.Generator().manual_seed(update))
        canvas = Canvas.make(tokens, tokens % 2 == 0, 2)
        denoised = network(canvas)
        loss = -denoised.log_prob(denoised.from_rows(tokens)).mean()
        loss.backward()
        clip_gradient(network.parameters(), 1.0)
        optimizers.step(1 / (update + 1))


@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_going_on_from_a_checkpoint_equals_never_having_stopped(tmp_path, muon_rate):
    def start():
        network = small_network()
        return network, Optimizers(network, 1e-2, muon_rate, 0.01)

    network, optimizers = start()
    train(network, optimizers, range(6))

    stopped, theirs = start()
    train(stopped, theirs, range(3))
    save_checkpoint(tmp_path / "c", stopped.state_dict() | theirs.tensors(), {})

    going, ours = start()
    tensors = load_checkpoint(tmp_path / "c").tensors
    going.load_state_dict({name: tensors[name] for name in going.state_dict()})
    ours.restore(tensors)
    assert ours.tensors().keys() == theirs.tensors().keys()
    for name, value in theirs.tensors().items():
        assert torch.equal(ours.tensors()[name], value), name
    train(going, ours, range(3, 6))
    for (name, one), (_, two) in zip(network.named_parameters(), going.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    for name, value in optimizers.tensors().items():
        assert torch.equal(ours.tensors()[name], value), name
