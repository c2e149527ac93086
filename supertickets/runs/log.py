"""A log for every run, in plain text: what it is, where it went on, every epoch, and how it ended.

``logs/<id>.log`` in the store has one line per event, in UTC. It stays when its run is killed, and the next attempt
goes on below. A run never fails for want of its log.
"""

import errno
import os
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from supertickets.errors import SuperticketsError
from supertickets.runs.run import Record, mean_report_score
from supertickets.runs.spec import Spec, described, in_words
from supertickets.runs.store import RunStore


@dataclass(frozen=True)
class RunLog:
    """The log of one run in a store; its methods write an event each, and say nothing if that is impossible."""

    store: RunStore
    spec: Spec

    def started(self) -> None:
        """Says what the run is and which process of which machine is at it."""
        self._write(f"started on {socket.gethostname()}, process {os.getpid()}: {described(self.spec)}")

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Says how an epoch (from 1) ended."""
        shown = ("train_loss", "selection_score", "selection_loss")
        told = ", ".join(f"{name.replace('_', ' ')} {values[name]:.4f}" for name in shown if name in values)
        self._write(f"epoch {number} of at most {self.spec.hyper.epochs}: {told}")

    def finished(self, record: Record) -> None:
        """Says that the record is in the store."""
        told = f"report score {mean_report_score(record):.4f}, best epoch {record.best_epoch}"
        peaks = [f"peak memory {in_words(record.memory['process'])}"] if "process" in record.memory else []
        peaks += [f"GPU {in_words(record.memory['gpu'])}"] if "gpu" in record.memory else []
        seconds = record.timings.get("total", float("nan"))
        steps = [f"steps {how}"] if (how := record.environment.get("steps")) else []
        self._write(f"finished in {seconds:.1f} s: {', '.join([told, *peaks, *steps])}")

    def failed(self, error: Exception) -> str:
        """One sentence about the error, which ends with where the log is if the error could be written there.

        For an error that we did not foresee the log has the traceback.
        """
        foreseen = isinstance(error, SuperticketsError)
        lines = str(error).strip().splitlines() or ["no reason given"]
        sentence = str(error) if foreseen else f"{type(error).__name__}: {lines[0]}"
        # Memory ran out; on a CPU torch has no type of error for it.
        named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        without = named or getattr(error, "errno", None) == errno.ENOMEM or "allocate memory" in str(error)
        if without and not foreseen:
            sentence = f"there is not enough memory ({sentence}); use fewer workers, smaller batches or shorter inputs"
        more = "" if foreseen else "".join(traceback.format_exception(error)).rstrip()
        told = self._write(f"failed: {sentence}", more)
        return f"{sentence} (log: {self.store.log_path(self.spec.id)})" if told else sentence

    def _write(self, text: str, more: str = "") -> bool:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        lines = [f"{stamp} {' '.join(text.split())}", *(f"    {line}" for line in more.splitlines())]
        return self.store.log(self.spec.id, "\n".join(lines) + "\n")
