"""Target `narrow`: the VM with words of 32 bits, as a board has: small integers end at 2^30, objects take as much as there."""

from hil import micropython
from hil.targets import Absent
from hil.targets.vm import Vm

HEAP = "193K"
"""160 KB, and 33 KB that the stand-ins take there (measured: `gc.mem_alloc()` with them and without)."""


class Narrow(Vm):
    """One virtual board with a board's memory."""

    def open(self) -> None:
        """Get hold of its VM.

        Raises:
            Absent: it is not to be had here.
        """
        try:
            micropython.narrow()
        except micropython.MicroPythonError as missing:
            raise Absent(str(missing)) from missing

    def _interpreter(self) -> list[str]:
        return [*micropython.narrow(), "-X", f"heapsize={HEAP}"]
