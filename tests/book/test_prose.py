"""Numbers in the book's prose that follow from the package: each is counted here, so that none can grow old."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from supertickets import load_encoder, shape_of
from supertickets.runs import RunStore
from supertickets.studies import get_profile
from supertickets.tasks import LAB_TASKS

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {2: "two", 3: "three", 4: "four", 8: "eight", 10: "ten", 12: "twelve"}


def prose(name: str) -> str:
    """A page's text on one line, without the marks of comments."""
    path = ROOT / ("book" if name.endswith(".md") else "notebooks") / name
    return " ".join(re.sub(r"^# ?", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE).split())


def weights(name: str) -> int:
    return sum(parameter.numel() for parameter in load_encoder(name, 2, 0).parameters())


def counted() -> dict[str, str]:
    """Where a sentence stands, by its page, and what it must say."""
    lab, minilm = get_profile("lab"), get_profile("minilm")
    cells, levels = lab.map, len(lab.levels)
    sizes, n = [cell.size for cell in cells], cells[0].n
    return {
        f"the whole map of {sum(cell.n for cell in cells) * 4:,} runs takes": "10_map.py",  # full, 10%, 20%, 30%
        f"Every cell of the map is {n} training sets": "10_map.py",
        f"With {len(cells)} cells one or two are starred": "10_map.py",
        f"from {min(sizes)} to {max(sizes):,} training examples": "10_map.py",
        f"at each of {NUMBERS[levels]} sparsity levels": "05_single_task.py",
        f"{1 + 3 * levels} runs per task and seed": "05_single_task.py",
        f"best of {NUMBERS[levels]} levels": "05_single_task.py",
        f"have {minilm.data['train_size']} training examples a task": "05_single_task.py",
        f"with {minilm.data['train_size']} training examples a task": "index.md",
        f"training sets of {minilm.sets.size} sentences": "01_introduction.py",
        f"prunes at {NUMBERS[levels]} levels": "use_it.md",
        f"Cost**: {'nine' if levels == 8 else levels + 1} fine-tunings for each seed": "use_it.md",
        f"## {NUMBERS[len(LAB_TASKS)].capitalize()} tasks": "11_lab.py",
    }


def test_so_few_recorded_tickets_share_their_shape_that_runs_are_not_joined() -> None:
    shapes: Counter[tuple[object, ...]] = Counter()
    for record in RunStore(str(ROOT / "book/results/minilm-h200.zip")).records(arrays=True):
        rule, heads = record.spec.ticket, record.arrays["heads"].sum(axis=1)
        if rule.kind != "full":
            ffns = record.arrays["ffns"]
            shapes[(record.spec.data.name, rule.kind, rule.level, *heads.tolist(), *ffns.tolist())] += 1
    shared = sum(n for n in shapes.values() if n > 1)
    text = " ".join((ROOT / "supertickets/options.py").read_text(encoding="utf-8").split())
    assert f"of {shapes.total()} recorded ones of MiniLM {shared} have that of another" in text


@pytest.mark.parametrize(("said", "name"), counted().items())
def test_the_prose_says_what_is_counted(said: str, name: str) -> None:
    assert said in prose(name)


def test_the_encoders_of_the_lab_have_the_size_that_the_book_says() -> None:
    shape, count = shape_of(load_encoder("lab-base", 2, 0)), weights("lab-base")
    assert f"`lab-base` has {shape.n_layers} layers of {shape.n_heads} heads" in prose("11_lab.py")
    assert "a quarter of a million parameters" in prose("index.md") and 0.23e6 < count < 0.27e6
    base = 109_482_240  # weights of BERT-base
    assert all("less than a hundredth of BERT's size" in prose(name) for name in ("11_lab.py", "10_map.py"))
    assert max(count, weights("lab-large")) < base / 100


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9B-Z]*.py")), ids=lambda path: path.stem)
def test_no_chapter_says_by_hand_what_it_costs(path: Path) -> None:
    """How long a copy took is put there by its build; appendix A's numbers are held by tests of the audit."""
    (cost,) = re.findall(r"# \*\*Cost\*\*: (.*?)# ```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert not re.search(r"second|minute|hour|GPU-day", cost)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[01][0-9]_*.py"))[:11], ids=lambda path: path.stem)
def test_every_quick_check_of_a_chapter_has_one_answer_among_those_offered(path: Path) -> None:
    text = prose(path.name)
    asked = re.findall(
        r"Quick check\.\*\* (.*?) ```\{admonition\} Answer :class: dropdown \((\w)\)[.,] (.*?) ```", text
    )
    assert asked and len(asked) == text.count("Quick check") and "## What was found" in text
    for question, answer, why in asked:
        offered = re.findall(r"\((\w)\) ", question.partition("?")[2])
        assert offered == ["a", "b", "c"] and answer in offered and len(why) > 60
