"""Options: those of the command line that several commands have, or that need a word of help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import supertickets


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(supertickets.__version__)
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="say which it is")]
Encoder = Annotated[str, typer.Option(help="lab-base, minilm, mpnet, a local folder, or a Hub id")]
TrainSize = Annotated[int | None, typer.Option(help="use only so many training examples of each task")]
Rate = Annotated[float | None, typer.Option(help="default: by encoder")]
BatchSize = Annotated[int | None, typer.Option(help="default: by encoder")]
MaxLength = Annotated[int | None, typer.Option(help="longest input in word pieces")]
Precision = Annotated[str, typer.Option(help="fp32, bf16, or auto: bf16 where the device is faster at it")]
Quiet = Annotated[bool, typer.Option(help="no progress bar")]
Experiment = Annotated[
    str,
    typer.Argument(help="rates, figure1, light, map, audit, search, table1 to table4, figure5, figure6, tuning, all"),
]
Profile = Annotated[str, typer.Option("--profile", help="a scale: lab, minilm, mpnet, paper-base and so on")]
Choices = Annotated[str, typer.Option(help="do as the authors' published code in these, or in all: published")]
Tasks = Annotated[str, typer.Option(help="comma-separated; default: the profile's")]
Seeds = Annotated[str, typer.Option(help="numbers from 0, comma-separated; default: the profile's")]
Store = Annotated[str, typer.Option(help="folder, fsspec URL or pack of the run store; several, comma-separated")]
DataDir = Annotated[str | None, typer.Option(help="folder that holds TASK/train.tsv and so on; default: lab or Hub")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="runs side by side (default: one per core, or --runs-per-gpu per GPU)")
]
Engine = Annotated[str, typer.Option(help="local (this process), processes, or ray")]
RUNS_PER_GPU = 2
"""So many runs share a GPU unless told otherwise: while one reads, captures, scores or writes, another's steps fill it.
Two fit with any encoder. Short runs spend little of their time in steps, and more of them pay, most with NVIDIA's MPS
(``nvidia-cuda-mps-control -d``), under which they do not take turns: ``make gpu`` times 1 to 12 on the spot.
Runs are never joined in one step. It takes one shape, and tickets differ in theirs: of 345 recorded ones of MiniLM
11 have that of another of their task, kind and level."""
RunsPerGpu = Annotated[int, typer.Option(min=1, help="runs that share a GPU (`make gpu` times 1 to 12)")]
Address = Annotated[str, typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT (default: a Ray here)")]
Task = Annotated[str | None, typer.Option(help="a lab task, a GLUE task, or a folder's name in --data-dir")]
Train = Annotated[Path | None, typer.Option(help="your training file: CSV, TSV, JSON, JSONL or Parquet")]
Dev = Annotated[list[Path] | None, typer.Option(help="your dev file; cut into selection and report")]
DevShare = Annotated[float | None, typer.Option(help="without a dev file: the share of train to take")]
Text = Annotated[list[str] | None, typer.Option(help="text column; twice for sentence pairs")]
Label = Annotated[str | None, typer.Option(help="label column")]
Kind = Annotated[str | None, typer.Option(help="classification or regression (default: seen from labels)")]
Metric = Annotated[
    list[str] | None, typer.Option(help="accuracy, f1, macro_f1, mcc, pearson, spearman, or your MODULE:FUNCTION")
]
Positive = Annotated[str | None, typer.Option(help="the class that f1 is of (default: the last in order)")]
OfTask = Annotated[list[str] | None, typer.Option(metavar="[NAME=]VALUE", help="as in find; of one task, or of all")]
Out = Annotated[Path | None, typer.Option(help="folder for the results (default: found-TASK)")]
KeepFull = Annotated[Path | None, typer.Option(help="also save the fully fine-tuned model in this folder")]
FindSeeds = Annotated[str, typer.Option(help="numbers from 0, comma-separated")]
Levels = Annotated[str, typer.Option(help="sparsity levels, comma-separated")]
Choose = Annotated[
    Literal["best", "smallest-within"], typer.Option(help="the best, or the smallest within --margin of it")
]
Margin = Annotated[float, typer.Option(min=0, help="points of the score, for smallest-within")]
SelectionFraction = Annotated[float, typer.Option(help="share of dev that chooses the level")]
