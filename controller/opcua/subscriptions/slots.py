"""Many slots at once: the Overflow bit comes."""

import numpy as np
from numpy.typing import NDArray

from controller.opcua.subscriptions.values import OVERFLOW

Slots = NDArray[np.uint8]


def flag(laid: Slots, which: "NDArray[np.int64]", places: "NDArray[np.uint8]") -> None:
    """Set the Overflow bit: it is in the lower 16 bits of the status."""
    at = places[which].astype(np.int64)
    laid[which, at] |= np.uint8(OVERFLOW & 0xFF)
    laid[which, at + 1] |= np.uint8(OVERFLOW >> 8)
