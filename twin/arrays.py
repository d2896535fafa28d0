"""What arrays are called in signatures; whoever needs only these names does not load Numba."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint32]
