"""Time and memory of the weighted loss beside what else there is.

    python benchmarks/loss.py [N D V] [--dtype float32|bfloat16] [--head frozen|trained]

Forward and backward for N tokens, width D and vocabulary V; ratios of medians over `--rounds`
interleaved rounds to F.linear + F.cross_entropy. Every loss and its gradients are compared with
the naive equation first. A contender that cannot weight tokens is marked "unweighted" and compared
with weights of 1. "floor" is the bare matrix products, into memory that is there already.

Peak memory is beyond the inputs (gradients count), each contender in a process of its own: torch's
own peak on a GPU, the growth of the resident set on a CPU (see side_by_side.PeakMemory). A small
call comes first, so that code pages and thread pools, needed once, do not count.

torch's linear_cross_entropy advises against its chunks for N < D; it is tried at its defaults and
at N/8, N/4 and N/2 rows a chunk, and the fastest of these takes part.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from side_by_side import PeakMemory, in_child, mebibytes, median_seconds, now
from torch import Tensor
from torch.nn import functional

from tarjih.loss import naive_severity_weighted_cross_entropy, severity_weighted_cross_entropy

PLAIN = "F.linear + F.cross_entropy"
FLOOR = "floor: matrix products only"
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
TRL_VOCABULARY_CHUNK = 32_768  # as trl.trainer.utils calls its kernel


@dataclass(frozen=True)
class Case:
    """N hidden states (N, D), the head (V, D), targets and weights (N,)."""

    hidden: Tensor
    head: Tensor
    targets: Tensor
    weights: Tensor

    def first(self, rows: int) -> Case:
        """The first rows only."""
        hidden = self.hidden.detach()[:rows].clone().requires_grad_()
        return Case(hidden, self.head, self.targets[:rows], self.weights[:rows])

    def gradients(self) -> list[Tensor]:
        """Gradients of the last backward pass, which are cleared."""
        leaves = [leaf for leaf in (self.hidden, self.head) if leaf.requires_grad]
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        for leaf in leaves:
            leaf.grad = None
        return gradients


Loss = Callable[[Case], Tensor]


def make_case(arguments: argparse.Namespace) -> Case:
    """A case of the wanted sizes; the same in every process."""
    rows, width, vocabulary = arguments.sizes
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    dtype = getattr(torch, arguments.dtype)
    hidden = torch.randn(rows, width).to(device, dtype).requires_grad_()
    head = (torch.randn(vocabulary, width) * 0.02).to(device, dtype)
    targets = torch.randint(0, vocabulary, (rows,)).to(device)
    weights = (0.5 + torch.rand(rows)).to(device)
    return Case(hidden, head.requires_grad_(arguments.head == "trained"), targets, weights)


def plain(case: Case) -> Tensor:
    """What one would write first."""
    logits = functional.linear(case.hidden, case.head)
    losses = functional.cross_entropy(logits, case.targets, reduction="none")
    return torch.dot(case.weights, losses.float())


def ours(case: Case) -> Tensor:
    """The loss of this project."""
    return severity_weighted_cross_entropy(case.hidden, case.head, case.targets, case.weights)


def torch_chunked(rows: int | None, *, weighted: bool) -> Loss:
    """Chunked head of torch itself; None leaves the chunks to it."""

    def loss(case: Case) -> Tensor:
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=rows)
        reduction = "none" if weighted else "sum"
        losses = functional.linear_cross_entropy(
            case.hidden, case.head, case.targets, reduction=reduction, options=options
        )
        return torch.dot(case.weights, losses.float()) if weighted else losses

    return loss


def trl(*outputs: str) -> Loss:
    """TRL's fused head; SFTTrainer asks it for entropy and accuracy as well."""

    def loss(case: Case) -> Tensor:
        from trl.kernels import ChunkedLogProbFunction

        head: Any = ChunkedLogProbFunction
        log_probabilities = head.apply(
            case.hidden,
            case.head,
            None,  # bias
            case.targets,
            1.0,  # temperature
            TRL_VOCABULARY_CHUNK,
            None,  # soft cap
            1.0,  # scale
            outputs,
        )[0]
        return -torch.dot(case.weights, log_probabilities)

    return loss


def liger(*, weighted: bool) -> Loss:
    """Liger's fused linear cross-entropy."""

    def loss(case: Case) -> Tensor:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        reduction = "none" if weighted else "sum"
        losses: Tensor = liger_fused_linear_cross_entropy(
            case.hidden, case.head, case.targets, reduction=reduction
        )
        return torch.dot(case.weights, losses.float()) if weighted else losses

    return loss


def cut_cross_entropy(case: Case) -> Tensor:
    """Apple's Cut Cross-Entropy."""
    from cut_cross_entropy import linear_cross_entropy

    losses = linear_cross_entropy(case.hidden, case.head, case.targets, reduction="none")
    return torch.dot(case.weights, losses.float())


def contenders(rows: int) -> dict[str, tuple[str, Loss]]:
    """Name -> the package that it needs, and the loss."""
    found: dict[str, tuple[str, Loss]] = {
        PLAIN: ("torch", plain),
        "tarjih": ("tarjih", ours),
    }
    for kind, weighted in (("none", True), ("sum, unweighted", False)):
        for chunk in (None, *(max(1, rows // share) for share in (8, 4, 2))):
            chunks = "default chunks" if chunk is None else f"{chunk} rows"
            name = f"{_torch_family(kind)}, {chunks}"
            found[name] = ("torch", torch_chunked(chunk, weighted=weighted))
    found["TRL fused head, as SFTTrainer"] = ("trl", trl("log_probs", "entropy", "is_top1"))
    found["TRL fused head, log p only"] = ("trl", trl("log_probs"))
    if torch.cuda.is_available():
        found["Liger (none)"] = ("liger_kernel", liger(weighted=True))
        found["Liger (sum, unweighted)"] = ("liger_kernel", liger(weighted=False))
        found["Cut Cross-Entropy"] = ("cut_cross_entropy", cut_cross_entropy)
    return found


def _torch_family(kind: str) -> str:
    return f"F.linear_cross_entropy ({kind})"


def floor(case: Case) -> Callable[[], object]:
    """The products that no exact loss can do without."""
    hidden, head = case.hidden.detach(), case.head.detach()
    logits = hidden.new_empty(len(hidden), len(head))
    hidden_gradient = torch.empty_like(hidden)
    head_gradient = torch.empty_like(head) if case.head.requires_grad else None

    def products() -> None:
        torch.mm(hidden, head.T, out=logits)
        torch.mm(logits, head, out=hidden_gradient)
        if head_gradient is not None:
            torch.mm(logits.T, hidden, out=head_gradient)

    return products


def step(loss: Loss, case: Case) -> tuple[Tensor, list[Tensor]]:
    """Forward and backward."""
    value = loss(case)
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach(), case.gradients()


def naive(case: Case) -> Tensor:
    """The equation itself."""
    return naive_severity_weighted_cross_entropy(case.hidden, case.head, case.targets, case.weights)


@dataclass(frozen=True)
class Trial:
    """A first run: its seconds, and what is wrong with its loss or gradients."""

    seconds: float
    fault: str | None


def trials(losses: dict[str, Loss], case: Case) -> dict[str, Trial]:
    """Run every loss once and judge it by the naive equation."""
    equal = replace(case, weights=torch.ones_like(case.weights))
    references = {kind.weights: step(naive, kind) for kind in (case, equal)}
    return {
        name: _trial(loss, kind, *references[kind.weights])
        for name, loss in losses.items()
        for kind in [equal if "unweighted" in name else case]
    }


def _trial(loss: Loss, case: Case, expected: Tensor, right: list[Tensor]) -> Trial:
    tolerance = TOLERANCES[case.hidden.dtype]
    try:
        step(loss, case.first(8))  # what is set up once
        start = now()
        value, gradients = step(loss, case)
        seconds = now() - start
    except Exception as error:
        case.gradients()
        return Trial(0.0, f"fails with {type(error).__name__}")
    off = [float(abs(value - expected) / expected)]
    for gradient, wanted in zip(gradients, right, strict=True):
        off.append(float((gradient.float() - wanted.float()).norm() / wanted.float().norm()))
    wrong = f"wrong: off the naive equation by {max(off):.2g} of its size"
    return Trial(seconds, None if max(off) <= tolerance else wrong)


def fastest_chunks(tried: dict[str, Trial]) -> list[str]:
    """The right losses; of each family of torch's chunked ones only the fastest."""
    names = [name for name, trial in tried.items() if not trial.fault]
    for kind in ("none", "sum, unweighted"):
        family = [name for name in names if name.startswith(_torch_family(kind))]
        if not family:  # torch before 2.13 has none
            continue
        best = min(family, key=lambda name: tried[name].seconds)
        names = [name for name in names if name not in family or name == best]
        slower = (
            f"{tried[name].seconds / tried[best].seconds:.1f} x for{name.rpartition(',')[2]}"
            for name in family
        )
        print(f"{_torch_family(kind)}, against its fastest: {', '.join(slower)}")
    return names


def main() -> None:
    """Print one line for each contender."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sizes", type=int, nargs="*", metavar="N D V")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--head", choices=("frozen", "trained"), default="frozen")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or [512, 896, 151_936]
    if len(arguments.sizes) != 3:
        parser.error("give N, D and V, or none of them")
    if arguments.memory_of:
        print(json.dumps({"extra": memory_of(arguments)}))
    else:
        compare(arguments)


def memory_of(arguments: argparse.Namespace) -> int:
    """Peak bytes beyond the inputs, of one contender in this process."""
    case = make_case(arguments)
    loss = contenders(arguments.sizes[0])[arguments.memory_of][1]
    step(loss, case.first(8))
    memory = PeakMemory()
    step(loss, case)
    return memory.extra()


def compare(arguments: argparse.Namespace) -> None:
    """Check, time, weigh, print."""
    case = make_case(arguments)
    rows, width, vocabulary = arguments.sizes
    found = contenders(rows)
    losses = {name: loss for name, (package, loss) in found.items() if find_spec(package)}
    print(
        f"N = {rows}, D = {width}, V = {vocabulary:,}, {arguments.dtype}, {arguments.head} head, "
        f"{case.hidden.device.type}, {torch.get_num_threads()} threads; "
        f"N x V float32 logits are {mebibytes(4 * rows * vocabulary)}"
    )
    tried = trials(losses, case)
    if tried["tarjih"].fault:
        raise SystemExit(f"tarjih: {tried['tarjih'].fault}")
    names = fastest_chunks(tried)
    timed: dict[str, Callable[[], object]] = {
        name: lambda loss=losses[name]: step(loss, case)  # type: ignore[misc]
        for name in names
    }
    seconds = median_seconds({FLOOR: floor(case), **timed}, arguments.rounds)
    common = [*map(str, arguments.sizes), "--dtype", arguments.dtype, "--head", arguments.head]
    print(f"{'':<48}{'time / plain':>14}{'peak extra memory':>20}")
    for name, time in seconds.items():
        memory = ""
        if name != FLOOR:
            memory = mebibytes(in_child(__file__, [*common, "--memory-of", name])["extra"])
        print(f"{name:<48}{time / seconds[PLAIN]:14.2f}{memory:>20}", flush=True)
    for name, (package, _) in found.items():
        trouble = tried[name].fault if name in tried else f"not installed ({package})"
        if trouble:
            print(f"{name:<48}{trouble}")


if __name__ == "__main__":
    main()
