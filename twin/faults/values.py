"""The numbers that a fault is written down with, and whether they are within their limits."""

from twin.fault import Fault, FaultError, Kind


def values(fault: Fault, kind: Kind) -> dict[str, float]:
    """All parameters of a fault, those that are not given by their default.

    Raises:
        FaultError: one that the kind does not have, or that is outside its range.
    """
    check_values(fault, kind)
    return {name: fault.parameters.get(name, parameter.default) for name, parameter in kind.parameters.items()}


def check_values(fault: Fault, kind: Kind) -> None:
    """Whether a fault's times and parameters are within their limits.

    Raises:
        FaultError: the first that is not.
    """
    if fault.at < 0:
        raise FaultError(f"{fault.target}: {fault.kind}: at={fault.at} ns is before the start, 0 ns")
    if fault.lasts is not None and fault.lasts <= 0:
        raise FaultError(f"{fault.target}: {fault.kind}: lasts={fault.lasts} ns must be more than 0 ns")
    for name, value in fault.parameters.items():
        if name not in kind.parameters:
            allowed = ", ".join(kind.parameters) or "none"
            raise FaultError(f"{fault.target}: {fault.kind}: there is no parameter {name!r}; there are {allowed}")
        limits = kind.parameters[name]
        if not limits.low <= value <= limits.high:
            allowed = f"{limits.low:g} to {limits.high:g} ({limits.text})"
            raise FaultError(f"{fault.target}: {fault.kind}: {name}={value:g} is outside {allowed}")
