"""What a recorded run tells of a plant: its parameters by least squares, with their errors, or why it cannot tell them.

`run` holds what was recorded, `fit` is the least squares, `identify` puts both together with a machine type's own equations
(its `beside.py`), and `kept` is the file in which the result stays with the machine. Text in, text out; nothing here reads files.
"""

from twin.calibration.errors import CalibrationError
from twin.calibration.fit import Fit, Unexcited, fit
from twin.calibration.identify import Identified, identify
from twin.calibration.kept import Calibration, Value, digest_of, read, write
from twin.calibration.run import Misfits, Run

__all__ = [
    "Calibration",
    "CalibrationError",
    "Fit",
    "Identified",
    "Misfits",
    "Run",
    "Unexcited",
    "Value",
    "digest_of",
    "fit",
    "identify",
    "read",
    "write",
]
