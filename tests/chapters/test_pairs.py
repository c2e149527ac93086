"""The GLUE kin of the lab's tasks."""

from supertickets.chapters.pairs import kin_of


def test_kin():
    assert (kin_of("similarity"), kin_of("QNLI"), kin_of("mine")) == ("STS-B", "QNLI", "mine")
