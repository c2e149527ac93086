"""The published tasks of the paper (Table 9): where the Hub has them, their classes and metrics."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """A published task: its classes in the Hub's order (none for regression) and the paper's metrics.

    ``dev`` and ``test`` are the Hub's names of these splits. ``header`` names the columns of a release without a header
    line. ``ragged`` marks QQP, whose release has a few broken lines that everybody, the Hub included, leaves out.
    """

    name: str
    hub: tuple[str, str | None]  # the dataset and its configuration
    label_names: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    dev: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    header: tuple[str, ...] = ()
    ragged: bool = False

    @property
    def kind(self) -> str:
        """The kind of task."""
        return "classification" if self.label_names else "regression"


_GLUE = "nyu-mll/glue"
_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_COLA_HEADER = ("source", "label", "mark", "sentence")
_SCITAIL_HEADER = ("premise", "hypothesis", "label")

BENCHMARKS = (
    Benchmark("CoLA", (_GLUE, "cola"), ("unacceptable", "acceptable"), ("mcc",), header=_COLA_HEADER),
    Benchmark("SST-2", (_GLUE, "sst2"), ("negative", "positive")),
    Benchmark("MRPC", (_GLUE, "mrpc"), ("not_equivalent", "equivalent"), ("accuracy", "f1")),
    Benchmark("QQP", (_GLUE, "qqp"), ("not_duplicate", "duplicate"), ("accuracy", "f1"), ragged=True),
    Benchmark("STS-B", (_GLUE, "stsb"), (), ("pearson", "spearman")),
    Benchmark("QNLI", (_GLUE, "qnli"), _ENTAILMENT),
    Benchmark("RTE", (_GLUE, "rte"), _ENTAILMENT),
    Benchmark(
        "MNLI",
        (_GLUE, "mnli"),
        _THREE_WAY,
        dev=("validation_matched", "validation_mismatched"),
        test=("test_matched", "test_mismatched"),
    ),
    Benchmark("SNLI", ("stanfordnlp/snli", None), _THREE_WAY),
    Benchmark("SciTail", ("allenai/scitail", "tsv_format"), ("entails", "neutral"), header=_SCITAIL_HEADER),
)


def benchmark(name: str) -> Benchmark | None:
    """Return the published task of that name, in any case and with or without its hyphen; None if there is none."""

    def plain(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    return next((made for made in BENCHMARKS if plain(made.name) == plain(name)), None)


def canonical_name(name: str) -> str:
    """Return a published task's usual spelling; any other name as it is.

    >>> canonical_name("sst2"), canonical_name("mnli"), canonical_name("reviews")
    ('SST-2', 'MNLI', 'reviews')
    """
    found = benchmark(name)
    return found.name if found else name
