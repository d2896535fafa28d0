"""What the rig does to a node from inside: the numbers are those of `hil.targets.Inject`."""

import builtins
import gc

import vm_link

PAUSE, LOAD, HANG, EAT, READ_ONLY, RAISE = 1, 2, 3, 4, 5, 6
_EROFS, _EIO = 30, 5
_PIECES = (4096, 512, 32)

_switch_us = vm_link.switch_us  # of the cost model
_held = []  # heap that nobody else gets
_open = builtins.open


def inject(what, argument):
    if what == PAUSE:
        vm_link.now += argument
    elif what == LOAD:
        vm_link.switch_us = _switch_us + argument
    elif what == HANG:
        while True:
            vm_link.exchange(vm_link.FOREVER)
    elif what == EAT:
        _eat(argument)
    elif what == READ_ONLY:
        builtins.open = _open_to_read if argument else _open
    elif what == RAISE:
        vm_link.failing_reads = argument


def _eat(left):
    _held.clear()
    gc.collect()
    if not left:
        return
    for size in _PIECES:
        try:
            while gc.mem_free() - left > size + 64:
                _held.append(bytearray(size))
        except MemoryError:
            pass  # it lies in smaller pieces


def _open_to_read(name, mode="r", *rest):
    if "w" in mode or "a" in mode or "+" in mode:
        raise OSError(_EROFS)
    return _open(name, mode, *rest)


def failed_read():
    """The reading of an input fails."""
    vm_link.failing_reads -= 1
    raise OSError(_EIO)
