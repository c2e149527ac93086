"""The command line. A mistake or a fault gives one sentence and a non-zero exit, never a traceback."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from supertickets import options
from supertickets.errors import SuperticketsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supertickets.engines import Summary
    from supertickets.runs import RunStore

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut option names at 80 columns
    help="Super tickets of BERT-like models.",
)


@app.callback()
def supertickets(version: options.Version = False) -> None:
    """Super tickets in pre-trained language models."""


@app.command()
def find(
    encoder: options.Encoder,
    task: options.Task = None,
    data_dir: options.DataDir = None,
    train: options.Train = None,
    dev: options.Dev = None,
    dev_share: options.DevShare = None,
    text: options.Text = None,
    label: options.Label = None,
    kind: options.Kind = None,
    metric: options.Metric = None,
    positive: options.Positive = None,
    train_size: options.TrainSize = None,
    out: options.Out = None,
    keep_full: options.KeepFull = None,
    seeds: options.FindSeeds = "0",
    levels: options.Levels = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8",
    learning_rate: options.Rate = None,
    batch_size: options.BatchSize = None,
    epochs: Annotated[int | None, typer.Option(help="at most so many epochs (default: 6)")] = None,
    max_length: options.MaxLength = None,
    precision: options.Precision = "auto",
    selection_fraction: options.SelectionFraction = 0.1,
    choose: options.Choose = "best",
    margin: options.Margin = 1.0,
    choices: options.Choices = "",
    workers: options.Workers = None,
    quiet: options.Quiet = False,
) -> None:
    """Find the super ticket of a task: fine-tune, score, prune, rewind, choose, report. Resumes if it was killed."""
    from supertickets.studies import default_hyper, seed_numbers, sparsity_levels
    from supertickets.tasks import data_ref

    # Cheap things first: a slip in an option is said before data are read, and torch comes last.
    given = {"learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs, "max_length": max_length}
    hyper = default_hyper(encoder, "" if precision == "auto" else precision, **given)
    chosen = {"seeds": seed_numbers(seeds), "levels": sparsity_levels(levels), "choose": choose, "choices": choices}
    if not 0 < selection_fraction < 1:
        raise SuperticketsError(f"--selection-fraction {selection_fraction} does not lie between 0 and 1.")
    meaning = {"text": text or (), "label": label, "kind": kind, "metrics": metric or (), "positive": positive}
    places = {"data_dir": data_dir, "train": train, "dev": dev or (), "dev_share": dev_share}
    data = data_ref(task, **places, train_size=train_size, **meaning)

    from supertickets.chapters import caveats, verdict_sentence, write_report
    from supertickets.studies import find as find_super_ticket

    if precision == "auto" and data.load().kind == "classification":  # bf16 leaves few different scores
        hyper = default_hyper(encoder, precision, **given)
    found = find_super_ticket(
        data,
        encoder,
        out or Path(f"found-{data.name}"),
        hyper=hyper,
        selection_fraction=selection_fraction,
        workers=workers,
        keep_full=keep_full,
        progress=not quiet,
        margin=margin / 100,
        say=typer.echo,
        **chosen,
    )
    path = write_report(found, shlex.join(["supertickets", *sys.argv[1:]]))
    for line in (found.summary, verdict_sentence(found), *caveats(found)[len(found.notes) :], f"Written: {path}"):
        typer.echo(str(line))


@app.command()
def predict(
    model: Annotated[Path, typer.Option(help="the folder model/ that `find` wrote")],
    data: Annotated[Path, typer.Option(help="the file of texts: CSV, TSV, JSON, JSONL or Parquet")],
    text: options.Text = None,
    out: Annotated[Path, typer.Option(help="the file for the answers, CSV")] = Path("answers.csv"),
) -> None:
    """Answer new texts with a saved model: the class or score of each, and the probability of every class."""
    from supertickets.studies import predict_file

    typer.echo(f"{predict_file(model, data, tuple(text or ()), out)} answers. Written: {out}")


@app.command()
def share(
    encoder: options.Encoder,
    tasks: Annotated[list[str], typer.Option(help="NAME=TICKET: a task and its ticket's file; more may follow")],
    more: Annotated[list[str] | None, typer.Argument(help="further NAME=TICKET", metavar="NAME=TICKET...")] = None,
    data_dir: options.DataDir = None,
    train: options.OfTask = None,
    dev: options.OfTask = None,
    dev_share: options.DevShare = None,
    text: options.OfTask = None,
    label: options.OfTask = None,
    kind: options.OfTask = None,
    metric: options.OfTask = None,
    positive: options.OfTask = None,
    train_size: options.TrainSize = None,
    out: Annotated[Path, typer.Option(help="folder for the results")] = Path("shared"),
    seed: Annotated[int, typer.Option(min=0, help="of task heads, batches and dropout")] = 0,
    learning_rate: options.Rate = None,
    batch_size: options.BatchSize = None,
    epochs: Annotated[int | None, typer.Option(help="at most so many epochs (default: 5)")] = None,
    max_length: options.MaxLength = None,
    precision: options.Precision = "auto",
    selection_fraction: Annotated[float, typer.Option(help="share of dev that chooses the epoch")] = 0.1,
    quiet: options.Quiet = False,
) -> None:
    """Train one encoder on several tasks, each using and updating its own ticket only. Resumes if it was killed."""
    from supertickets.studies import default_hyper, multi_task_hyper, named_tickets
    from supertickets.studies import share as share_tickets

    meaning = {"text": text, "label": label, "kind": kind, "metrics": metric, "positive": positive}
    common = {"data_dir": data_dir, "train_size": train_size, "dev_share": dev_share}
    refs, tickets = named_tickets([*tasks, *(more or [])], common, train=train, dev=dev, **meaning)
    if precision == "auto" and any(ref.load().kind == "regression" for ref in refs.values()):
        precision = ""  # bf16 leaves few different scores
    given = {"learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs, "max_length": max_length}
    hyper = default_hyper(encoder, precision, **given)
    hyper = hyper if epochs else multi_task_hyper(hyper)
    found = share_tickets(refs, tickets, encoder, out, seed, hyper, selection_fraction, not quiet)
    typer.echo(f"{found}\nWritten: {found.out}")


@app.command()
def plan(
    experiment: options.Experiment,
    profile: options.Profile = "lab",
    tasks: options.Tasks = "",
    seeds: options.Seeds = "",
    choices: options.Choices = "",
    store: options.Store = "runs",
    data_dir: options.DataDir = None,
    workers: options.Workers = None,
    by_task: Annotated[bool, typer.Option(help="also a line for every task")] = False,
) -> None:
    """Say how much of an experiment is done, and how much time and memory the rest will take."""
    from supertickets.studies import get_profile

    chosen = get_profile(profile, tasks, seeds, choices=choices)  # first: a slip is said before torch is loaded
    from supertickets.studies import inputs_for
    from supertickets.studies import plan as plan_experiment

    opened = _store(store, new=True)
    found = plan_experiment(experiment, chosen, opened, inputs_for(opened, data_dir), workers)
    typer.echo(str(found))
    if by_task:
        typer.echo(found.table())
    _echo_failures(found.failed)


@app.command()
def sweep(
    experiment: options.Experiment,
    profile: options.Profile = "lab",
    tasks: options.Tasks = "",
    seeds: options.Seeds = "",
    choices: options.Choices = "",
    store: options.Store = "runs",
    data_dir: options.DataDir = None,
    workers: options.Workers = None,
    engine: options.Engine = "processes",
    runs_per_gpu: options.RunsPerGpu = options.RUNS_PER_GPU,
    address: options.Address = "",
    retry_failed: Annotated[bool, typer.Option(help="carry out failed runs again")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Carry out what is missing of an experiment. Killed at any moment, the same command goes on from there."""
    from supertickets.studies import get_profile

    chosen = get_profile(profile, tasks, seeds, choices=choices)
    from supertickets.engines import Engine
    from supertickets.studies import at_hand
    from supertickets.studies import sweep as sweep_experiment

    how = Engine(engine, runs_per_gpu, address)
    options = {"retry_failed": retry_failed, "progress": not quiet}
    _tell(sweep_experiment(experiment, chosen, _store(store, new=True), at_hand(data_dir), workers, how, **options))


@app.command()
def status(
    experiment: Annotated[str, typer.Argument(help="also say when it will be done, as by `plan`")] = "",
    profile: options.Profile = "lab",
    tasks: options.Tasks = "",
    seeds: options.Seeds = "",
    store: options.Store = "runs",
    data_dir: options.DataDir = None,
) -> None:
    """Say what is in a run store, what is under way and how fast, and what has failed."""
    from supertickets.runs import told
    from supertickets.studies import get_profile, inputs_for
    from supertickets.studies import plan as plan_experiment
    from supertickets.studies import status as status_of

    found = status_of(opened := _store(store))
    typer.echo(str(found))
    for path, manifest in opened.manifests().items():
        typer.echo(f"{path}: {told(manifest)}")
    if experiment:
        chosen, inputs = get_profile(profile, tasks, seeds), inputs_for(opened, data_dir)
        typer.echo(found.left(plan_experiment(experiment, chosen, opened, inputs)))
    _echo_failures(found.failed)


@app.command()
def log(
    run: Annotated[str, typer.Argument(help="the run's id, or the start of it")],
    store: options.Store = "runs",
) -> None:
    """Print the log of a run: what it is, every epoch, and how it ended, with the traceback of an unforeseen error."""
    typer.echo(_store(store).read_log(run), nl=False)


@app.command()
def retry(
    store: options.Store = "runs",
    data_dir: options.DataDir = None,
    workers: options.Workers = None,
    engine: options.Engine = "processes",
    runs_per_gpu: options.RunsPerGpu = options.RUNS_PER_GPU,
    address: options.Address = "",
    quiet: options.Quiet = False,
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
    store: options.Store = "runs",
    sample: Annotated[int, typer.Option(min=1, help="so many runs, chosen at random")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="of the choice")] = 0,
    data_dir: options.DataDir = None,
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
    data_dir: options.DataDir = None,
) -> None:
    """Pack the records of run stores into one file, without any path; it is read wherever a store is named."""
    from supertickets.runs import pack as pack_records

    packed = pack_records(_store(",".join(stores)).records(arrays=True), to, note, data_dir)
    typer.echo(f"{packed}\nWritten: {to}")


def _store(path: str, new: bool = False) -> RunStore:
    from supertickets.runs import RunStore

    return RunStore(path) if new else RunStore(path).there()


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
    for stream in (sys.stdout, sys.stderr):  # a console that cannot show a character shows its number
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # of which Windows lacks the last
    asks = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, _stop) for number in asks}
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
        typer.echo("supertickets: stopped; what was finished is kept: the same command goes on from there.", err=True)
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
