"""The notebook runner: what it must refuse, and what an executed notebook must say about itself."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import nbformat
import pytest

from supertickets import notebooks
from supertickets.errors import SuperticketsError

PARAMETERS = '# %% tags=["parameters"]\nprofile = "lab"\nseeds = 3\nrate = 0.1\n'


def write(folder: Path, body: str, parameters: str = PARAMETERS, name: str = "01_trial.py") -> Path:
    path = folder / name
    path.write_text(f"# %% [markdown]\n# # A trial\n\n{parameters}\n{textwrap.dedent(body)}", encoding="utf-8")
    return path


def test_executes_with_parameters_and_says_what_produced_it(tmp_path: Path) -> None:
    source = write(tmp_path, "# %%\nprint(profile, seeds + 1)\n")
    out = notebooks.run_notebook(source, tmp_path / "made" / "01_trial.ipynb", {"profile": "smoke"})
    executed = nbformat.read(out, as_version=4)
    printed = [output.text for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert printed == ["smoke 4\n"]
    stamp = executed.metadata["supertickets"]
    assert stamp["parameters"] == {"profile": "smoke", "seeds": 3, "rate": 0.1}
    assert stamp["profile"] == "smoke"
    assert stamp["code"] == notebooks.code_fingerprint()
    assert stamp["seconds"] > 0
    assert {"python", "torch", "transformers", "numpy"} <= set(stamp["versions"])
    assert stamp["device"]
    assert stamp["commit"] == "unknown"  # the folder is in no repository
    assert str(tmp_path) not in out.read_text(encoding="utf-8")


def test_unknown_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    source = write(tmp_path, "# %%\nopen('ran', 'w').close()\n")
    with pytest.raises(SuperticketsError, match=r"01_trial.py has no parameter 'seed'; it has: profile, seeds, rate"):
        notebooks.run_notebook(source, tmp_path / "out.ipynb", {"seed": 1})
    assert not (tmp_path / "ran").exists()


def test_parameter_of_another_type_is_refused() -> None:
    known = {"seeds": 3, "rate": 0.1, "flag": True, "limit": None}
    assert notebooks.check_parameters({"rate": 1, "limit": 4}, known) == {**known, "rate": 1, "limit": 4}
    for wrong in ({"seeds": "3"}, {"seeds": True}, {"flag": 1}, {"rate": "0.1"}):
        with pytest.raises(SuperticketsError, match="Parameter"):
            notebooks.check_parameters(wrong, known)


def test_failed_cell_fails_the_run_and_leaves_no_result(tmp_path: Path) -> None:
    source = write(tmp_path, "# %%\nbefore = 1\n\n# %%\n# divide\nbefore / 0\n")
    out = tmp_path / "made" / "01_trial.ipynb"
    out.parent.mkdir()
    out.write_text("an older result", encoding="utf-8")
    with pytest.raises(SuperticketsError) as caught:
        notebooks.run_notebook(source, out)
    sentence = str(caught.value)
    assert "01_trial.py failed in code cell 3 (`# divide`): ZeroDivisionError: division by zero" in sentence
    assert not out.exists()
    assert (out.parent / "_failed" / out.name).is_file()


def test_hung_cell_ends_at_the_timeout(tmp_path: Path) -> None:
    source = write(tmp_path, "# %%\nimport time\ntime.sleep(120)\n")
    with pytest.raises(SuperticketsError, match=r"01_trial.py has a cell that took longer than 2 s"):
        notebooks.run_notebook(source, tmp_path / "out.ipynb", timeout=2)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ("", "has 0 cells tagged `parameters`"),
        (PARAMETERS + "\n" + PARAMETERS, "has 2 cells tagged `parameters`"),
        ("# %%\nimport os\n\n" + PARAMETERS, "must be the first code cell"),
        ('# %% tags=["parameters"]\nprofile = str("lab")\n', r"not `profile = str\('lab'\)`"),
        ('# %% tags=["parameters"]\nprofile = other\n', "not `profile = other`"),
        ('# %% tags=["parameters"]\nimport os\n', "not `import os`"),
        ('# %% tags=["parameters"]\na = b = 1\n', "not `a = b = 1`"),
        ('# %% tags=["parameters"]\na, b = 1, 2\n', r"not `a, b = \(1, 2\)`"),
        ('# %% tags=["parameters"]\nprofile = \n', "is not valid Python"),
    ],
)
def test_bad_parameters_cells_are_refused(tmp_path: Path, parameters: str, complaint: str) -> None:
    source = write(tmp_path, "# %%\n1 + 1\n", parameters)
    with pytest.raises(SuperticketsError, match=complaint):
        notebooks.notebook_parameters(notebooks.read_notebook(source), source.name)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SuperticketsError, match="There is no notebook"):
        notebooks.read_notebook(tmp_path / "02_gone.py")
    (tmp_path / "notes.md").write_text("text", encoding="utf-8")
    with pytest.raises(SuperticketsError, match="is no notebook"):
        notebooks.read_notebook(tmp_path / "notes.md")
    (tmp_path / "03_broken.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(SuperticketsError, match="cannot be read as a notebook"):
        notebooks.read_notebook(tmp_path / "03_broken.ipynb")


def test_second_batch_repeats_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write(tmp_path, "# %%\nseeds\n"), tmp_path / "out"
    executed: list[str] = []

    def stand_in(source: Path, out: Path, parameters: dict, *, timeout: int) -> Path:
        executed.append(source.stem)
        known = notebooks.notebook_parameters(notebooks.read_notebook(source))
        key = notebooks.execution_key(notebooks.read_notebook(source), {**known, **parameters})
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps({"metadata": {"supertickets": {"key": key, "seconds": 1.0}}}), encoding="utf-8")
        return out

    monkeypatch.setattr(notebooks, "run_notebook", stand_in)
    notebooks.run_notebooks([source], out, {"seeds": "2"})
    notebooks.run_notebooks([source], out, {"seeds": "2"})
    assert executed == ["01_trial"]
    assert "01_trial: unchanged, kept" in capsys.readouterr().out
    notebooks.run_notebooks([source], out, {"seeds": "4"})
    assert len(executed) == 2
    source.write_text(source.read_text(encoding="utf-8") + "\n# %%\nrate\n", encoding="utf-8")
    notebooks.run_notebooks([source], out, {"seeds": "4"})
    assert len(executed) == 3
    monkeypatch.setattr(notebooks, "code_fingerprint", lambda: "another line of the package")
    notebooks.run_notebooks([source], out, {"seeds": "4"})
    assert len(executed) == 4
    notebooks.run_notebooks([source], out, {"seeds": "4"}, force=True)
    assert len(executed) == 5


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "# %%\nprint(seeds)\n")
    out = tmp_path / "out"
    common = ["--source", str(tmp_path), "--out", str(out), "--profile", "smoke"]
    assert notebooks.main([*common, "-p", "sedes", "1"]) == 2
    assert "has no parameter 'sedes'" in capsys.readouterr().err
    assert notebooks.main([*common, "07"]) == 2
    assert "'07' names 0 notebooks" in capsys.readouterr().err
    out.mkdir()
    stale, foreign = out / "02_renamed.ipynb", out / "mine.ipynb"
    stale.write_text(json.dumps({"metadata": {"supertickets": {"key": "k"}}}), encoding="utf-8")
    foreign.write_text("{}", encoding="utf-8")
    assert notebooks.main([*common, "-p", "seeds", "5"]) == 0
    assert "01_trial: executing" in capsys.readouterr().out
    assert notebooks.executed_stamp(out / "01_trial.ipynb")["parameters"]["seeds"] == 5
    assert not stale.exists()
    assert foreign.exists()


def test_fingerprint_reads_every_source_file(tmp_path: Path) -> None:
    from supertickets.runs.provenance import _digest_files

    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    before = _digest_files(tmp_path, ("*.py",))
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    after = _digest_files(tmp_path, ("*.py",))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "b.py").write_text("", encoding="utf-8")
    assert len({before, after, _digest_files(tmp_path, ("*.py",))}) == 3
