"""Inverse kinematics: the joints that put a robot's flange at a pose. Poses are (4, 4), of the flange in the base frame."""

from twin.kinematics.inverse.answers import (
    Answer,
    Lost,
    NoClosedForm,
    PoseError,
    Reason,
    Singular,
    Solution,
    Tracked,
    Unreachable,
)
from twin.kinematics.inverse.geometry import Family, Form, form
from twin.kinematics.inverse.search import Search, search
from twin.kinematics.inverse.solve import ACCURACY, all_solutions, family, solve, track

__all__ = [
    "ACCURACY",
    "Answer",
    "Family",
    "Form",
    "Lost",
    "NoClosedForm",
    "PoseError",
    "Reason",
    "Search",
    "Singular",
    "Solution",
    "Tracked",
    "Unreachable",
    "all_solutions",
    "family",
    "form",
    "search",
    "solve",
    "track",
]
