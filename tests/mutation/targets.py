"""What is mutated, and what must notice."""

from dataclasses import dataclass

from tests.mutant import ROOT
from tests.mutation.edits import Edit, edits

NAMED_BY = "LOCKSTEP_MUTANT_FIRMWARE"  # the environment's name of a firmware folder, for plugin.py
PROFILE = "mutants"  # how Hypothesis works there


@dataclass(frozen=True, slots=True)
class Target:
    """One file.

    Attributes:
        killers: arguments of pytest, the quick ones first; each goes to a process of its own.
        within: its functions and classes that count, all where none is given.
        module: by which it is imported; empty for the firmware, of which a copy is run.
    """

    file: str
    killers: tuple[tuple[str, ...], ...]
    within: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return "" if self.file.startswith("firmware/") else self.file.removesuffix(".py").replace("/", ".")

    def source(self) -> str:
        return (ROOT / self.file).read_text(encoding="utf-8")

    def edits(self) -> list[Edit]:
        return edits(self.file, self.source(), self.within)


_CODEC = tuple(
    "Number Signal.registers Signal.size _check_overlap record raw _within encode value _reader _counter _readers".split()
) + ("decode", "outside")
_ALONE = tuple(
    f"tests/firmware/test_{name}.py" for name in ("bank", "lease", "latch", "commands", "grant_model", "channel", "held")
)
_NODE = tuple(f"tests/firmware/test_{name}.py" for name in ("safety", "modbus", "node"))
_TICK, _GUARDS = "tests/firmware/test_tick.py", "tests/firmware/test_guards.py"
_RIG = tuple(f"tests/hil/faults/test_{where}.py::test_a_fault_of_a_{where}_does_no_harm" for where in ("link", "node"))
_CORE = ("tests/controller/test_dispatch.py", "tests/controller/test_factory_machine.py")

TARGETS = (
    Target("firmware/node/safety.py", ((*_ALONE[1:], *_NODE), _RIG)),
    Target("firmware/node/commands.py", ((*_ALONE[1:], _GUARDS, *_NODE), _RIG)),
    Target("firmware/node/rules.py", ((_GUARDS,),)),
    Target("firmware/node/belief.py", ((_GUARDS, "tests/firmware/test_heat.py"),)),
    Target("firmware/node/supervisor.py", ((_TICK,),)),
    Target("firmware/node/use.py", (("tests/firmware/test_restart.py",),)),
    Target("firmware/node/bank.py", ((*_ALONE, *_NODE), _RIG)),
    Target("firmware/node/codec.py", (("tests/firmware/test_codec.py", "tests/firmware/test_modbus.py"),)),
    Target(
        "firmware/node/app.py",
        ((_TICK, *_ALONE[3:], *_NODE), _RIG),
        ("Node.tick", "Node._tick_motion", "Node._tick_heaters", "Node.rest", "Node.loop", "Node._watch", "NoMotion"),
    ),
    Target("controller/scan.py", (("tests/controller/test_scan.py", *_CORE), _RIG)),
    Target("controller/nodes/grant.py", (("tests/controller/test_grant.py", *_CORE), _RIG)),
    Target("controller/modbus/pdu.py", (("tests/controller/test_pdu.py", "tests/controller/test_client.py"),)),
    Target("controller/image.py", (("tests/controller/test_image.py", *_CORE),)),
    Target(
        "twin/wire.py",
        (("tests/twin/test_wire.py", "tests/controller/test_image.py"),),
        _CODEC,
    ),
)
