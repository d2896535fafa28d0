"""Scenarios: what is done to a factory, and the requirements that judge what came of it."""

import importlib

MODULES = ("hil.scenarios.belts", "hil.scenarios.carrying", "hil.scenarios.printing")


def load() -> None:
    """Put the scenarios that come along among those that `hil.scenario.SCENARIOS` names."""
    for module in MODULES:
        importlib.import_module(module)
