"""A training run's whole state in one safetensors file, its JSON in the header, replaced in one move.

A run that is killed at any moment, in the middle of a write too, leaves a whole file of its own and goes on from it to
the same result as if it had never been killed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from supertickets.errors import SuperticketsError
from supertickets.runs import Hyper
from supertickets.sharing.isolation import Isolated
from supertickets.training import EncodedSplit

_KEPT = ("step", "epoch", "best", "best_epoch", "epochs")


@dataclass
class Progress:
    """How far a run is: steps and epochs done, the best epoch and its weights, the losses summed in this epoch."""

    best_weights: Tensor
    losses: Tensor
    step: int = 0
    epoch: int = 0
    best: tuple[float, float] | None = None
    best_epoch: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)


def identity_of(
    whole: Isolated, splits: Mapping[str, tuple[EncodedSplit, EncodedSplit]], hyper: Hyper, seed: int
) -> str:
    """A hash of what determines a run, before its first step: weights, who uses them, batches, settings, seed."""
    digest = hashlib.sha256(json.dumps([asdict(hyper), seed, str(whole.vector.dtype)], sort_keys=True).encode())
    digest.update(whole.vector.cpu().numpy().tobytes())
    layout = [(stretch.start, stretch.stop, sorted(stretch.owners)) for stretch in whole.stretches]
    digest.update(json.dumps(layout).encode())
    for name, pair in sorted(splits.items()):
        digest.update(name.encode())
        for split in pair:
            for array in (split.ids, split.starts, split.lengths, split.labels):
                digest.update(array.tobytes())
    return digest.hexdigest()


def write_progress(path: str | Path | None, identity: str, progress: Progress, whole: Isolated) -> None:
    """Replaces the checkpoint, if there is to be one; raises SuperticketsError if it cannot be written."""
    if path is None:
        return
    path = Path(path)
    tensors = {
        "weights": whole.vector,
        "average": whole.average,
        "infinity": whole.infinity,
        "best_weights": progress.best_weights,
        "losses": progress.losses,
        "random": torch.random.get_rng_state(),
    }
    if whole.vector.device.type == "cuda":
        tensors["random_cuda"] = torch.cuda.get_rng_state(whole.vector.device)
    state = {name: getattr(progress, name) for name in _KEPT} | {"steps": whole.steps, "identity": identity}
    half = path.with_name(f"{path.name}.half")  # one name, so that what a kill leaves is overwritten
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.cpu() for name, tensor in tensors.items()}, half, {"state": json.dumps(state)})
        half.replace(path)
    except (OSError, SafetensorError) as error:
        half.unlink(missing_ok=True)
        raise SuperticketsError(f"The checkpoint {path} cannot be written ({error}); free some space.") from error


def read_progress(path: str | Path | None, identity: str, whole: Isolated) -> Progress | None:
    """Puts a checkpoint's weights, optimiser and random state back and returns how far it was; None without a file.

    Raises SuperticketsError if the file is damaged or belongs to another run.
    """
    if path is None or not Path(path).exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        other = state["identity"] != identity
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise SuperticketsError(f"The checkpoint {path} is damaged ({error}); delete it to start again.") from error
    if other:
        raise SuperticketsError(
            f"The checkpoint {path} belongs to another run (other data, tickets, weights or settings); delete it or "
            "give another file."
        )
    device = whole.vector.device
    with torch.no_grad():
        for name, tensor in (("weights", whole.vector), ("average", whole.average), ("infinity", whole.infinity)):
            tensor.copy_(tensors[name])
    whole.steps.update(state["steps"])
    torch.random.set_rng_state(tensors["random"])
    if "random_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random_cuda"], device)
    kept = {name: state[name] for name in _KEPT}
    kept["best"] = None if state["best"] is None else tuple(state["best"])
    return Progress(tensors["best_weights"].to(device), tensors["losses"].to(device), **kept)
