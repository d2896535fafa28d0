"""Starts the firmware's main file in the VM, unmodified, on factory time.

Usage: micropython boot_vm.py MAIN SWITCH_US EXCHANGE_US COLLECT_US BYTE_NS   (costs; 0 0 0 0 switches the cost model off)
"""

import gc
import sys

import vm_link
import vm_tasks


def _strike(what, argument):
    import vm_faults  # only where it is needed: its memory is a board's

    vm_faults.inject(what, argument)


vm_link.strike = _strike
sys.modules["_asyncio"] = vm_tasks
import asyncio  # noqa: E402  (after its task core)

vm_tasks.serve(sys.modules["asyncio"].core)
asyncio.sleep_ms = vm_tasks.sleep_ms


class _Collector:
    """`gc`, with the pause that a collection is on a board."""

    def collect(self):
        gc.collect()
        vm_link.now += vm_link.collect_us

    def __getattr__(self, name):
        return getattr(gc, name)


sys.modules["gc"] = _Collector()  # pyright: ignore[reportArgumentType]

main = sys.argv[1]
vm_link.configure([int(cost) for cost in sys.argv[2:6]])
sys.argv[:] = [main]
vm_link.exchange(0)
with open(main) as file:
    code = file.read()
try:
    exec(compile(code, main, "exec"), {"__name__": "__main__"})
finally:
    vm_link.flush()  # what the pins did last
