"""Parts through stations and buffers with random times: how many, how fast, and when an order is ready. Pure."""

from twin.line.laws import Cycles, Exponential, Fixed, Gamma, Law, LineError, Lognormal, Uniform
from twin.line.line import Failures, Line, Station
from twin.line.simulate import Form, Outcome, Paths, simulate

__all__ = [
    "Cycles",
    "Exponential",
    "Failures",
    "Fixed",
    "Form",
    "Gamma",
    "Law",
    "Line",
    "LineError",
    "Lognormal",
    "Outcome",
    "Paths",
    "Station",
    "Uniform",
    "simulate",
]
