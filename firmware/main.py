"""Starts the node: from the folder that the loader trusts, or, where there are no such folders, from beside this file."""

import gc

gc.threshold(4096)  # what compiling leaves behind is cleared away at once, or it would lie between what stays

import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

PAUSE_MS = 3000  # before a node that cannot start tries again
_slotted = "a" in os.listdir() or "b" in os.listdir()


def _load():
    """The loader, for as long as it is needed."""
    import loader

    del sys.modules["loader"]
    return loader


def _start():
    """Run the node; what it says when it cannot. An update that falls over is another reason to stop than a bug."""
    if _slotted:
        try:
            _load().enter()
        except Exception as refused:  # its class went with the loader
            return refused.args[-1] if refused.args else repr(refused)
        gc.collect()
    try:
        from node import start

        return start.run()
    except Exception as bug:
        if not _slotted:
            raise
        sys.print_exception(bug)
        return "it has stopped"


print("lockstep:", _start())
if _slotted:
    if not _load().failed():
        time.sleep_ms(PAUSE_MS)
    sys.exit()  # on a board: from the beginning
