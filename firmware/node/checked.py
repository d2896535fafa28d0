"""An output whose level is read back at a second pin, from behind what it switches."""

from node import pins
from node.blocks import Output
from node.registers import FAULT_NONE, FAULT_OUTPUT

SETTLE_TICKS = 5  # that a relay may take


class CheckedOutput(Output):
    """An Output that looks whether what it says is done."""

    KEYS = ("pin", "from", "silence", "back_pin")

    def __init__(self, config, bank, effective):
        super().__init__(config, bank, effective)
        self._back = pins.input(config["back_pin"]).value
        self._differs = 0

    def watch(self):
        """What comes back has differed for 50 ms."""
        if self._back() == self._level:
            self._differs = 0
            return FAULT_NONE
        self._differs = min(self._differs + 1, SETTLE_TICKS + 1)
        return FAULT_OUTPUT if self._differs > SETTLE_TICKS else FAULT_NONE
