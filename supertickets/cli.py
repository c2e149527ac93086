"""The command line. A mistake or a fault gives one sentence and a non-zero exit, never a traceback."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from supertickets.errors import SuperticketsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supertickets.engines import Summary
    from supertickets.runs import RunStore
    from supertickets.studies import Inputs
    from supertickets.tasks import DataRef

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Super tickets of BERT-like models.",
)


@app.callback()
def supertickets() -> None:
    """Super tickets in pre-trained language models."""


_Encoder = Annotated[str, typer.Option(help="lab-base, minilm, mpnet, a local folder, or a Hub id")]
_TrainSize = Annotated[int | None, typer.Option(help="use only so many training examples of each task")]
_Rate = Annotated[float | None, typer.Option(help="default: by encoder")]
_BatchSize = Annotated[int | None, typer.Option(help="default: by encoder")]
_MaxLength = Annotated[int | None, typer.Option(help="longest input in word pieces")]
_Precision = Annotated[str, typer.Option(help="fp32, bf16, or auto: bf16 where the device is faster at it")]
_Quiet = Annotated[bool, typer.Option(help="no progress bar")]
_Experiment = Annotated[str, typer.Argument(help="rates, figure1, light, table1 to table4, figure5, figure6, or all")]
_Profile = Annotated[str, typer.Option("--profile", help="a scale: lab, minilm, mpnet, paper-base and so on")]
_Tasks = Annotated[str, typer.Option(help="comma-separated; default: the profile's")]
_Seeds = Annotated[str, typer.Option(help="comma-separated; default: the profile's")]
_Store = Annotated[str, typer.Option(help="folder, fsspec URL or pack of the run store; several, comma-separated")]
_DataDir = Annotated[str | None, typer.Option(help="folder that holds TASK/train.tsv and so on; default: lab or Hub")]
_Workers = Annotated[
    int | None, typer.Option(min=1, help="runs side by side (default: one per core, or --runs-per-gpu per GPU)")
]
_Engine = Annotated[str, typer.Option(help="local (this process), processes, or ray")]
_RunsPerGpu = Annotated[int, typer.Option(min=1, help="runs that share a GPU; without GPUs it changes nothing")]
_Address = Annotated[str, typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT (default: a Ray here)")]


@app.command()
def find(
    encoder: _Encoder,
    task: Annotated[str | None, typer.Option(help="a lab task, a GLUE task, or a folder's name in --data-dir")] = None,
    data_dir: _DataDir = None,
    train: Annotated[Path | None, typer.Option(help="your training file: CSV, TSV, JSONL or Parquet")] = None,
    dev: Annotated[list[Path] | None, typer.Option(help="your dev file; cut into selection and report")] = None,
    text: Annotated[list[str] | None, typer.Option(help="text column; twice for sentence pairs")] = None,
    label: Annotated[str | None, typer.Option(help="label column")] = None,
    kind: Annotated[str | None, typer.Option(help="classification or regression (default: seen from labels)")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="accuracy, f1, mcc, pearson or spearman")] = None,
    train_size: _TrainSize = None,
    out: Annotated[Path | None, typer.Option(help="folder for the results (default: found-TASK)")] = None,
    keep_full: Annotated[Path | None, typer.Option(help="also save the fully fine-tuned model in this folder")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="number of seeds")] = 1,
    levels: Annotated[str, typer.Option(help="sparsity levels, comma-separated")] = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8",
    learning_rate: _Rate = None,
    batch_size: _BatchSize = None,
    epochs: Annotated[int | None, typer.Option(help="at most so many epochs (default: 6)")] = None,
    max_length: _MaxLength = None,
    precision: _Precision = "auto",
    selection_fraction: Annotated[float, typer.Option(help="share of dev that chooses the level")] = 0.1,
    workers: _Workers = None,
    quiet: _Quiet = False,
) -> None:
    """Find the super ticket of a task: fine-tune, score, prune, rewind, choose, report. Resumes if it was killed."""
    from supertickets.chapters import caveats, verdict_sentence, write_report
    from supertickets.studies import default_hyper, sparsity_levels
    from supertickets.studies import find as find_super_ticket
    from supertickets.tasks import data_ref

    given = {"learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs, "max_length": max_length}
    hyper = default_hyper(encoder, precision, **given)
    meaning = {"text": tuple(text or ()), "label": label, "kind": kind, "metrics": tuple(metric or ())}
    data = data_ref(task, data_dir=data_dir, train=train, dev=tuple(dev or ()), train_size=train_size, **meaning)
    found = find_super_ticket(
        data,
        encoder,
        out or Path(f"found-{data.name}"),
        seeds=range(seeds),
        levels=sparsity_levels(levels),
        hyper=hyper,
        selection_fraction=selection_fraction,
        workers=workers,
        keep_full=keep_full,
        progress=not quiet,
    )
    path = write_report(found)
    typer.echo(str(found.summary))
    typer.echo(verdict_sentence(found))
    for note in caveats(found):
        typer.echo(note)
    typer.echo(f"Written: {path}")


@app.command()
def share(
    encoder: _Encoder,
    tasks: Annotated[list[str], typer.Option(help="NAME=TICKET: a task and its ticket's file; more may follow")],
    more: Annotated[list[str] | None, typer.Argument(help="further NAME=TICKET", metavar="NAME=TICKET...")] = None,
    data_dir: _DataDir = None,
    train_size: _TrainSize = None,
    out: Annotated[Path, typer.Option(help="folder for the results")] = Path("shared"),
    seed: Annotated[int, typer.Option(min=0, help="of task heads, batches and dropout")] = 0,
    learning_rate: _Rate = None,
    batch_size: _BatchSize = None,
    epochs: Annotated[int | None, typer.Option(help="at most so many epochs (default: 5)")] = None,
    max_length: _MaxLength = None,
    precision: _Precision = "auto",
    selection_fraction: Annotated[float, typer.Option(help="share of dev that chooses the epoch")] = 0.1,
    quiet: _Quiet = False,
) -> None:
    """Train one encoder on several tasks, each using and updating its own ticket only. Resumes if it was killed."""
    from supertickets.studies import default_hyper, multi_task_hyper
    from supertickets.studies import share as share_tickets
    from supertickets.tasks import data_ref

    refs: dict[str, DataRef] = {}
    tickets: dict[str, Path] = {}
    for pair in [*tasks, *(more or [])]:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise SuperticketsError(
                f"--tasks {pair!r} is not of the form NAME=TICKET, such as RTE=found-RTE/ticket.json."
            )
        ref = data_ref(name, data_dir=data_dir, train_size=train_size)  # its name is canonical: "rte" is RTE
        if ref.name in tickets:
            raise SuperticketsError(f"Task {ref.name} is named twice; tasks go by name, so give each its own.")
        refs[ref.name], tickets[ref.name] = ref, Path(path)
    given = {"learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs, "max_length": max_length}
    hyper = default_hyper(encoder, precision, **given)
    hyper = hyper if epochs else multi_task_hyper(hyper)
    found = share_tickets(refs, tickets, encoder, out, seed, hyper, selection_fraction, not quiet)
    typer.echo(str(found))
    typer.echo(f"Written: {found.out}")


@app.command()
def plan(
    experiment: _Experiment,
    profile: _Profile = "lab",
    tasks: _Tasks = "",
    seeds: _Seeds = "",
    store: _Store = "runs",
    data_dir: _DataDir = None,
    workers: _Workers = None,
    by_task: Annotated[bool, typer.Option(help="also a line for every task")] = False,
) -> None:
    """Say how much of an experiment is done, and how much time and memory the rest will take."""
    from supertickets.studies import get_profile
    from supertickets.studies import plan as plan_experiment

    opened = _store(store)
    found = plan_experiment(experiment, get_profile(profile, tasks, seeds), opened, _inputs(opened, data_dir), workers)
    typer.echo(str(found))
    if by_task:
        typer.echo(found.table())
    _echo_failures(found.failed)


@app.command()
def sweep(
    experiment: _Experiment,
    profile: _Profile = "lab",
    tasks: _Tasks = "",
    seeds: _Seeds = "",
    store: _Store = "runs",
    data_dir: _DataDir = None,
    workers: _Workers = None,
    engine: _Engine = "processes",
    runs_per_gpu: _RunsPerGpu = 1,
    address: _Address = "",
    retry_failed: Annotated[bool, typer.Option(help="carry out failed runs again")] = False,
    quiet: _Quiet = False,
) -> None:
    """Carry out what is missing of an experiment. Killed at any moment, the same command goes on from there."""
    from supertickets.engines import Engine
    from supertickets.studies import at_hand, get_profile
    from supertickets.studies import sweep as sweep_experiment

    chosen, how = get_profile(profile, tasks, seeds), Engine(engine, runs_per_gpu, address)
    options = {"retry_failed": retry_failed, "progress": not quiet}
    _tell(sweep_experiment(experiment, chosen, _store(store), at_hand(data_dir), workers, how, **options))


@app.command()
def status(
    experiment: Annotated[str, typer.Argument(help="also say when it will be done, as by `plan`")] = "",
    profile: _Profile = "lab",
    tasks: _Tasks = "",
    seeds: _Seeds = "",
    store: _Store = "runs",
    data_dir: _DataDir = None,
) -> None:
    """Say what is in a run store, what is under way and how fast, and what has failed."""
    from supertickets.runs import told
    from supertickets.studies import get_profile
    from supertickets.studies import plan as plan_experiment
    from supertickets.studies import status as status_of

    opened = _store(store)
    found = status_of(opened)
    typer.echo(str(found))
    for path, manifest in opened.manifests().items():
        typer.echo(f"{path}: {told(manifest)}")
    if experiment:
        chosen, inputs = get_profile(profile, tasks, seeds), _inputs(opened, data_dir)
        typer.echo(found.left(plan_experiment(experiment, chosen, opened, inputs)))
    _echo_failures(found.failed)


@app.command()
def log(
    run: Annotated[str, typer.Argument(help="the run's id, or the start of it")],
    store: _Store = "runs",
) -> None:
    """Print the log of a run: what it is, every epoch, and how it ended, with the traceback of an unforeseen error."""
    typer.echo(_store(store).read_log(run), nl=False)


@app.command()
def retry(
    store: _Store = "runs",
    data_dir: _DataDir = None,
    workers: _Workers = None,
    engine: _Engine = "processes",
    runs_per_gpu: _RunsPerGpu = 1,
    address: _Address = "",
    quiet: _Quiet = False,
) -> None:
    """Carry out the failed runs of a store again."""
    from supertickets.engines import Engine, run_all
    from supertickets.runs import placed

    opened, how = _store(store), Engine(engine, runs_per_gpu, address)
    options = {"retry_failed": True, "description": "retry", "progress": not quiet}
    failed = [placed(spec, data_dir) for spec in opened.failed_specs()]
    _tell(run_all(failed, opened, workers, how, **options))


@app.command()
def verify(
    store: _Store = "runs",
    sample: Annotated[int, typer.Option(min=1, help="so many runs, chosen at random")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="of the choice")] = 0,
    data_dir: _DataDir = None,
    tolerance: Annotated[float, typer.Option(min=0, help="of the mean score in another setting")] = 0.05,
) -> None:
    """Carry out some stored runs again; in the same setting they must be identical, elsewhere alike on average."""
    from supertickets.studies import drift
    from supertickets.studies import verify as verify_runs

    all_found = []
    for found in verify_runs(_store(store), sample, seed, data_dir):
        all_found.append(found)
        typer.echo(str(found))
    if (off := drift(all_found)) > 0:
        typer.echo(f"in another setting the mean score differs by {off:.4f}; the tolerance is {tolerance:g}")
    if off > tolerance or not all(found.ok for found in all_found):
        raise typer.Exit(1)


@app.command()
def pack(
    stores: Annotated[list[str], typer.Argument(help="run stores; of a run in several the first's record is taken")],
    to: Annotated[Path, typer.Option(help="the file, such as results.zip")],
    note: Annotated[str, typer.Option(help="what the runs are, for its manifest")] = "",
    data_dir: _DataDir = None,
) -> None:
    """Pack the records of run stores into one file, without any path; it is read wherever a store is named."""
    from supertickets.runs import pack as pack_records

    typer.echo(pack_records(_store(",".join(stores)).records(arrays=True), to, note, data_dir))
    typer.echo(f"Written: {to}")


def _store(path: str) -> RunStore:
    from supertickets.runs import RunStore

    return RunStore(path)


def _inputs(store: RunStore, data_dir: str | None) -> Inputs:
    """The data at hand; for a packed store, which takes no runs, those that its runs had."""
    from supertickets.studies import at_hand, recorded

    if store.read_only and data_dir is None:
        return recorded(record.spec for record in store.records())
    return at_hand(data_dir)


def _tell(found: Summary) -> None:
    """What was done; a run that failed is a failure."""
    typer.echo(str(found))
    _echo_failures(found.failed)
    if found.failed:
        raise typer.Exit(1)


def _echo_failures(failures: Mapping[str, str]) -> None:
    for run_id, error in failures.items():
        typer.echo(f"{run_id} failed: {error}", err=True)


def main() -> None:
    """Entry point of the console script."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        app()
    except SuperticketsError as error:
        typer.echo(f"supertickets: {error}", err=True)
        sys.exit(2)
    except OSError as error:  # a disk that fills up while the results are written, say
        typer.echo(f"supertickets: {error}; what was finished is kept.", err=True)
        sys.exit(2)
    except _Stopped as stopped:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # again: at once
        typer.echo(
            "supertickets: stopped; what was finished is kept, and the same command goes on from there.", err=True
        )
        sys.exit(128 + stopped.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stopped(BaseException):
    """Ctrl-C, or a signal that asks for an end as schedulers do; no KeyboardInterrupt, which typer ends in silence."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _stop(number: int, _frame: object) -> NoReturn:
    raise _Stopped(number)


if __name__ == "__main__":
    main()
