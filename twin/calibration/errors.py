"""What goes wrong in a calibration."""


class CalibrationError(ValueError):
    """A run that cannot be used, or a calibration that is none: names the thing, the value and what is needed."""
