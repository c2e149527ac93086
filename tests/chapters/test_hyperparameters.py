"""Appendix B: the paper's settings beside those of the profiles."""

from supertickets.chapters.hyperparameters import SILENT, departures, hyperparameter_table
from supertickets.chapters.paper import hyperparameters
from supertickets.studies import get_profile


def test_every_setting_of_the_paper_stands_beside_the_profiles():
    names = ("paper-base", "lab", "minilm")
    table = hyperparameter_table([get_profile(name) for name in names])
    rows = table.set_index("setting")
    assert not table.isna().any(axis=None)
    assert rows.loc["batch size", "the paper"] == ", ".join(map(str, hyperparameters()["batch_sizes"]))
    assert rows.loc["epochs at most", ["the paper", *names]].tolist() == ["6"] * 4
    assert rows.loc["learning rate of Table 1", "minilm"] == "0.0003, 0.0006"
    assert rows.loc["word pieces of a text at most", "lab"] == "64"
    found = departures(table, "paper-base")
    assert "batch size" in found and "warm-up, share of the steps" not in found
    assert not set(found) & set(table.loc[table["the paper"] == SILENT, "setting"])
    assert "tasks" in departures(table, "lab")
