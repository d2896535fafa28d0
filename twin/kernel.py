"""The one place that knows how Numba is switched on."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

from twin.arrays import Floats, Ints, Words

__all__ = ["Floats", "Ints", "Words", "inlined", "kernel"]

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def kernel(function: Callable[_Args, _Result]) -> Callable[_Args, _Result]:
    """Compile a function of arrays and numbers; the machine code is cached beside the source.

    Numba does not notice a change in a callee of *another* file, so a kernel and all it calls live in one file.
    """
    compiled: Any = numba.njit(cache=True, error_model="numpy", nogil=True)(function)
    result: Callable[_Args, _Result] = compiled
    return result


def inlined(function: Callable[_Args, _Result]) -> Callable[_Args, _Result]:
    """Compile straight-line arithmetic into whoever calls it; a product and a sum may become one rounding.

    Nothing is reordered: sums keep their order, which the argument reduction of a sine depends on.
    """
    compiled: Any = numba.njit(
        cache=True, error_model="numpy", nogil=True, forceinline=True, fastmath={"contract", "nsz"}
    )(function)
    result: Callable[_Args, _Result] = compiled
    return result
