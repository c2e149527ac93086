"""Any kind of run: what a run store holds records of, and an engine carries out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supertickets.adaptation import AdaptationSpec
from supertickets.runs import RunSpec
from supertickets.shared_runs import SharingSpec

Spec = RunSpec | SharingSpec | AdaptationSpec


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """The spec that its ``to_json`` wrote, of whatever kind; raises SuperticketsError if it is damaged."""
    kinds = {"sharing": SharingSpec, "adaptation": AdaptationSpec}
    return kinds.get(data.get("study", ""), RunSpec).from_json(data)
