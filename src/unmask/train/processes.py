"""The processes of a run: who am I, which rows are mine, and how what each of them finds is put together.

A run started by `accelerate launch` or `torchrun` is several processes that all execute the same program. Everything
random is keyed by the identity of a row, so a process that is given some rows of a batch draws for them what one
process would have drawn; sums over the processes then are what one process would have computed, within rounding.
Started plainly there is one process, and nothing here does anything.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.train.sharding import shard

Found = TypeVar("Found")

TIMEOUT = timedelta(minutes=30)  # for what all processes do at the same pace: the sums of an update
PATIENCE = timedelta(days=7)  # for what the main process does alone while the others wait: validation, writing texts
WATCH = 1.0  # seconds between looks at whether the launcher is still there
BUCKET = 1 << 23  # elements of gradients that are summed in one message
SHARED_DEVICES = ("cpu", "cuda", "xpu", "npu")


class Piece(NamedTuple):
    """Rows of a batch. rows: long [b], or None for all of them. share: of the batch that they stand for."""

    rows: Tensor | None
    share: float


class Whole(nn.Module):
    """A network and whatever has to happen while it is put together: `whole(work)` is `work()`.

    Wrappers that gather sharded weights or watch for gradients do so around one call of a module; here that call is all
    of a loss, however many passes it takes and whatever it returns in between.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[[], Found]) -> Found:
        return work()


class Prepared:
    """A network made ready for several processes: `prepared(work)` runs `work`, which uses the network.

    summed: the gradients of a backward pass arrive summed over the processes (times `scale`, see `backward_scale`);
    else `Processes.sum_gradients` is to be called.
    """

    def __init__(self, module: Any, scale: float, holding: Callable[[], AbstractContextManager[Any]]) -> None:
        self.module, self.scale, self.holding = module, scale, holding

    def __call__(self, work: Callable[[], Found]) -> Found:
        return self.module(work)  # type: ignore[no-any-return]


class Processes:
    """All processes of this run, seen from one of them.

    rank: which one this is, from 0; the main one is 0 and the only one that writes. world: how many there are.
    device: where this one computes. sharded: the user's configuration asks for FSDP2.
    """

    def __init__(self, device: str, accelerator: Any = None) -> None:
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index if accelerator else 0
        self.world: int = accelerator.num_processes if accelerator else 1
        self.device = str(accelerator.device) if accelerator else device
        self.sharded = accelerator is not None and _asks_for_fsdp()
        self._patient = None
        if accelerator:
            self._patient = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    # ---- rows

    def pieces(self, rows: int, parts: int = 1) -> list[Piece]:
        """The rows of a batch of `rows` that are this process's, in `parts` pieces (fewer if there are too few rows).

        Together the pieces of all processes are the batch, in order, sizes apart by one at most. A process with nothing
        to do repeats the first row with share 0, so that all processes take part in every sum.
        """
        if self.world * parts == 1:
            return [Piece(None, 1.0)]
        total = self.world * parts
        edges = [rows * k // total for k in range(self.rank * parts, (self.rank + 1) * parts + 1)]
        found = [
            Piece(torch.arange(low, high), (high - low) / rows)
            for low, high in pairwise(edges)
            if high > low
        ]
        return found or [Piece(torch.zeros(1, dtype=torch.long), 0.0)]

    def share(self, items: Sequence[Found]) -> Sequence[Found]:
        """Every `world`-th of `items`, beginning with that of this process's rank."""
        return items[self.rank :: self.world]

    # ---- sums

    def total(self, value: Tensor) -> Tensor:
        """The sum of `value` over the processes, without gradient."""
        value = value.detach()
        if self.world > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put into every parameter's gradient the sum over the processes; none where no process has one."""
        if self.world == 1:
            return
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        if not wanted:
            return
        has = torch.tensor([float(parameter.grad is not None) for parameter in wanted], device=wanted[0].device)
        has = self.total(has)
        wanted = [parameter for parameter, known in zip(wanted, has.tolist(), strict=True) if known]
        for bucket in _buckets(wanted):
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([grad.reshape(-1) for grad in grads])
            torch.distributed.all_reduce(flat)
            parts = torch.split(flat, [p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter).clone()

    # ---- what one process knows and the others need

    def from_main(self, work: Callable[[], Any]) -> Any:
        """What `work()` gives on the main process, a JSON value, on every process; its UserError is raised on all.

        The others wait, however long it takes.
        """
        if self.world == 1:
            return work()
        said: dict[str, Any] = {}
        if self.is_main:
            try:
                said = {"value": work()}
            except UserError as error:
                said = {"error": str(error)}
        said = self._broadcast(said)
        if "error" in said:
            raise UserError(said["error"])
        return said["value"]

    def on_main(self, work: Callable[[], Found]) -> Found | None:
        """What `work()` gives on the main process, whatever it is; None on the others, once the main one is done.

        Its UserError is raised on all.
        """
        kept: list[Found] = []
        self.from_main(lambda: kept.append(work()))
        return kept[0] if kept else None

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all processes, in order of rank."""
        if self.world == 1:
            return [value]
        mine = _packed(value)
        sizes = [torch.zeros(1, dtype=torch.long) for _ in range(self.world)]
        torch.distributed.all_gather(sizes, torch.tensor([len(mine)]), group=self._patient)
        longest = max(int(size) for size in sizes)
        padded = torch.cat([mine, mine.new_zeros(longest - len(mine))])
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        torch.distributed.all_gather(parts, padded, group=self._patient)
        return [_unpacked(part[: int(size)]) for part, size in zip(parts, sizes, strict=True)]

    def tensors_from_main(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The main process's named tensors on every process, on the CPU; those of the others do not matter."""
        if self.world == 1:
            return tensors
        shapes = {name: [str(value.dtype)[6:], list(value.shape)] for name, value in tensors.items()}
        found = {}
        for name, (dtype, shape) in self.from_main(lambda: shapes).items():
            value = torch.empty(shape, dtype=getattr(torch, dtype))
            value = tensors[name].cpu().contiguous() if self.is_main else value
            bits = value.reshape(-1).view(torch.uint8) if value.numel() else value.new_zeros(0, dtype=torch.uint8)
            torch.distributed.broadcast(bits, 0, group=self._patient)
            found[name] = value
        return found

    def _broadcast(self, value: Any) -> Any:
        packed = _packed(value)
        size = torch.tensor([len(packed)])
        torch.distributed.broadcast(size, 0, group=self._patient)
        if not self.is_main:
            packed = torch.empty(int(size), dtype=torch.uint8)
        torch.distributed.broadcast(packed, 0, group=self._patient)
        return _unpacked(packed)

    # ---- networks

    def prepare(self, network: nn.Module) -> Prepared:
        """Share a network that learns between the processes as the user's accelerate configuration says: DDP, or FSDP2.

        Gradients of a loss times `Prepared.scale` then arrive summed over the processes.
        """
        if self.world == 1:
            return Prepared(_plainly, 1.0, nullcontext)
        whole = Whole(network)
        if self.sharded:
            module: Any = shard(whole, self.accelerator)
            return Prepared(module, float(self.world), lambda: _unsynchronised(module))
        module = self.accelerator.prepare(whole)
        return Prepared(module, float(self.world), module.no_sync)

    def spread(self, network: nn.Module) -> Prepared:
        """Share the weights of a network that does not learn between the processes: with FSDP2 each holds a part."""
        if not self.sharded:
            return Prepared(_plainly, 1.0, nullcontext)
        return Prepared(shard(Whole(network), self.accelerator), 1.0, nullcontext)

    def validating(self, prepared: Prepared, work: Callable[[], Any]) -> Any:
        """`work()`, which decodes with a prepared network and gives a JSON value: by the main process alone, or by all
        of them in the same step where each holds but a part of the weights."""
        if not self.sharded:
            return self.from_main(work)

        def unlearned() -> Any:
            with torch.no_grad():
                return prepared(work)

        return self.gather(unlearned())[0]


def world_size() -> int:
    """How many processes this run was started with."""
    try:
        return int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 1


def is_main() -> bool:
    """Whether this process is the one that speaks; needs no group."""
    return world_size() == 1 or os.environ.get("RANK", "0") == "0"


@cache
def open_processes(device: str) -> Processes:
    """The processes of this run, each on a device of its own where `device` is a kind of device (`cuda`).

    Raises UserError where there are several and accelerate is not installed, or `device` is a single one.
    """
    if world_size() == 1:
        return Processes(device)
    try:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError as error:
        raise UserError(
            f"this run was started as {world_size()} processes, which needs accelerate; "
            "install it with `pip install accelerate`, or start the run as one process"
        ) from error
    if device not in SHARED_DEVICES:
        raise UserError(
            f"{world_size()} processes cannot share the one device `{device}`; give its kind, e.g. --device cuda"
        )
    end_with_the_launcher()
    with lost_processes():
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="no",  # what is multiplied in bfloat16 is a setting of the run, not of how it is started
            kwargs_handlers=[InitProcessGroupKwargs(timeout=TIMEOUT)],
        )
        return Processes(device, accelerator)


def end_with_the_launcher() -> None:
    """See to it that this process ends when the one that launched it is killed and so cannot end it.

    It may be waiting for the others by then, where no signal is handled: a thread looks now and then.
    """
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(WATCH)
        print("stopping, for what launched this process is gone", file=sys.stderr, flush=True)
        os._exit(143)

    threading.Thread(target=watch, name="launcher", daemon=True).start()


def close_processes() -> None:
    """Part in good order, if there is anything to part from."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    open_processes.cache_clear()


@contextmanager
def lost_processes() -> Iterator[None]:
    """Say in a sentence that another process is gone, where torch would tell how it noticed."""
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not _tells_of_a_loss(error):
            raise
        raise UserError(
            f"stopping, for another of the {world_size()} processes is gone or does not answer "
            f"({str(error).strip().splitlines()[0][-120:]}); start the run again with the same command: "
            "it goes on from its last checkpoint"
        ) from error


def _tells_of_a_loss(error: RuntimeError) -> bool:
    words = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "Socket", "TCPStore")
    distributed = isinstance(error, getattr(torch.distributed, "DistError", ()))
    return distributed or any(word in str(error) for word in words)


def _asks_for_fsdp() -> bool:
    """Whether the user's accelerate configuration says FSDP. Raises UserError if it says FSDP1."""
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError("the accelerate configuration asks for FSDP 1; set `fsdp_version: 2` in it")
    return True


def _plainly(work: Callable[[], Found]) -> Found:
    return work()


@contextmanager
def _unsynchronised(module: Any) -> Iterator[None]:
    """Let gradients of sharded weights add up on each process before they are summed."""
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one dtype and device, as many as one message should hold."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        alike = not bucket or (parameter.dtype, parameter.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or sum(p.numel() for p in bucket) + parameter.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _packed(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _unpacked(packed: Tensor) -> Any:
    return json.loads(packed.numpy().tobytes())
