"""Models of transformers as denoisers: alignment, padding and who sees whom."""

from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.denoisers.from_transformers import denoiser_from_transformers
from unmask.samplers.decode import decode_canvas
from unmask.samplers.top_prob import TopProb

VOCABULARY, MASK = 20, 19


class Echo:
    """Logits at position i that name the token `10 * row + i`, whatever it is shown; remembers what it was told."""

    config = SimpleNamespace(mask_token_id=MASK, max_position_embeddings=32)
    told: dict

    def forward(self, input_ids, attention_mask=None, position_ids=None, output_hidden_states=False):
        self.told = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        rows, length = input_ids.shape
        at = torch.arange(length) + 10 * torch.arange(rows)[:, None]
        logits = torch.nn.functional.one_hot(at % VOCABULARY, VOCABULARY).float()
        return SimpleNamespace(logits=logits, hidden_states=(None, at[..., None].float()))

    def __call__(self, **arguments):
        return self.forward(**arguments)


def canvas(masked: list[list[int]], valid: list[list[int]] | None = None) -> Canvas:
    covered = torch.tensor(masked).bool()
    seen = None if valid is None else torch.tensor(valid).bool()
    return Canvas.make(torch.full(covered.shape, 3), covered, 4, seen)


def test_logits_and_hidden_states_are_those_of_the_masked_positions() -> None:
    model = Echo()
    denoised = denoiser_from_transformers(model, hidden=True)(canvas([[0, 1, 0, 1], [0, 0, 1, 1]]))
    assert denoised.top2_tokens[:, 0].tolist() == [1, 3, 12, 13]
    assert denoised.hidden.tolist() == [[1], [3], [12], [13]]
    assert model.told["input_ids"].tolist() == [[3, MASK, 3, MASK], [3, 3, MASK, MASK]]
    assert model.told["attention_mask"] is None


def test_shifted_logits_are_taken_one_position_before_and_the_first_from_where_it_stands() -> None:
    given = canvas([[1, 1, 0, 1], [0, 1, 1, 0]], [[1, 1, 1, 1], [0, 1, 1, 1]])
    denoised = denoiser_from_transformers(Echo(), shift=True)(given)
    assert denoised.top2_tokens[:, 0].tolist() == [0, 0, 2, 11, 11]


def test_padding_is_told_as_the_model_reads_it() -> None:
    model = Echo()
    given = canvas([[0, 0, 1], [0, 1, 1]], [[1, 1, 1], [0, 1, 1]])
    denoiser_from_transformers(model)(given)
    assert model.told["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert model.told["position_ids"].tolist() == [[0, 1, 2], [0, 0, 1]]
    denoiser_from_transformers(model, attention="full")(given)
    assert model.told["attention_mask"].shape == (2, 1, 3, 3)
    assert model.told["attention_mask"][1, 0].long().tolist() == [[1, 1, 1], [0, 1, 1], [0, 1, 1]]


def test_the_mask_token_and_what_else_is_impossible_are_never_written() -> None:
    logits = denoiser_from_transformers(Echo(), impossible=(4,))(canvas([[0, 1]])).logits(slice(0, 1))
    assert (logits == float("-inf")).nonzero()[:, 1].tolist() == [4, MASK]


def test_what_is_missing_is_said() -> None:
    with pytest.raises(UserError, match="which token is the mask"):
        denoiser_from_transformers(lambda input_ids: None)
    with pytest.raises(UserError, match="padding or full"):
        denoiser_from_transformers(Echo(), attention="causal")


@pytest.fixture(scope="module")
def llama():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.5, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def bert():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.5, max_position_embeddings=32,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attention"), [("llama", "full"), ("bert", "padding"), ("bert", "full")])
def test_a_row_does_not_depend_on_padding_or_neighbours(request, name, attention) -> None:
    denoiser = denoiser_from_transformers(request.getfixturevalue(name), MASK, attention=attention)
    tokens = torch.tensor([[0, 0, 5, 6, 0, 0, 0], [2, 7, 4, 4, 0, 0, 0]])
    masked = torch.arange(7).expand(2, 7) >= 4
    valid = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]]).bool()
    together = denoiser(Canvas.make(tokens, masked, 3, valid))
    alone = denoiser(Canvas.make(tokens[:1, 2:], masked[:1, 2:], 3))
    assert torch.allclose(together.logits(slice(0, 3)).exp(), alone.logits(slice(0, 3)).exp(), atol=1e-4)
    assert not together.logits(slice(0, 6)).isnan().any()


@pytest.mark.slow
def test_a_causal_architecture_sees_both_sides_with_full_attention(llama) -> None:
    given = canvas([[1, 0, 0]])
    other = Canvas.make(torch.tensor([[3, 3, 8]]), given.masked, 4)
    for attention, equal in (("padding", True), ("full", False)):
        denoiser = denoiser_from_transformers(llama, MASK, attention=attention)
        first, second = (denoiser(each).logits(slice(0, 1)) for each in (given, other))
        assert torch.equal(first, second) is equal


@pytest.mark.slow
def test_it_decodes_like_any_denoiser(bert) -> None:
    decoded = decode_canvas(denoiser_from_transformers(bert, MASK), canvas([[0, 1, 1, 1]]), TopProb())
    assert not decoded.canvas.masked.any()
    assert int(decoded.nfe[0]) == 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_are_refused(temperature) -> None:
    class Overflows(Echo):
        def forward(self, input_ids, **told):
            answer = super().forward(input_ids, **told)
            answer.logits[:, -1, 3] = torch.nan
            return answer

    denoiser = denoiser_from_transformers(Overflows())
    with pytest.raises(UserError, match=r"NaN logits .* position 2 of row 0, at step 1"):
        decode_canvas(denoiser, canvas([[0, 1, 1]]), TopProb(), temperature=temperature)


def test_what_is_no_token_of_the_codec_is_impossible() -> None:
    """Tokens 0..9 and 19, in an embedding of 20 rows."""
    words = {**{str(number): number for number in range(8)}, "<|end|>": 8, "<|pad|>": 9, "<|mask|>": MASK}
    codec = Codec(Tokenizer(models.WordLevel(words, unk_token="<|pad|>")))
    given = canvas([[0, 1, 0, 1], [1, 0, 1, 1]])
    free, bound = (
        denoiser_from_transformers(Echo(), impossible=(3,), codec=codec)(given) for codec in (None, codec)
    )
    assert free.top2_tokens[:, 0].tolist() == [1, 0, 10, 12, 13], "0: the first, where only 3 was meant"
    written = bound.draw(torch.full((5,), 1 - 1e-9, dtype=torch.float64), 1.0)
    assert set(bound.top2_tokens.flatten().tolist()) | set(written.tolist()) <= {*range(10)} - {3}
    assert bound.log_prob(torch.zeros(5, dtype=torch.long)).isfinite().all()
