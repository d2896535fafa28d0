"""The docs' page of registers, read off the records: `python -m twin.reference > docs/reference/registers.md`."""

import enum
from collections.abc import Iterator

from twin import node
from twin.factory import BUILT_IN_TYPES
from twin.machine import load
from twin.wire import Bit, Layout, Signal, layout

HEAD = """# Registers

<!-- Generated from twin/node.py and twin/machines/*/spec.py by `python -m twin.reference`: do not edit by hand. -->

Every node of ours serves {count} holding registers, 0 to {last}. Addresses are those of the wire: 0-based. Function codes
0x03 and 0x04 read the same registers; 0x06 and 0x10 write; 0x2B/0x0E tells who the node is. Unit ids 0, 1 and 255 are
the node.

| from | what |
|---|---|
| {status} | [node Status](#node-status), read only |
| {command} | [Grant](#grant): who commands, for how long, and what is to be done once |
| {transfer} | [transfer window](#transfer-window): a head, then up to {bytes} bytes, two a register |
| {machines} | the machines, each at the base that `factory.toml` gives it: its Status, then its Command |

A register holds 16 bits, big-endian on the wire. A value of two registers has its high word first. `3.2` is bit 2 of
register 3; bit 0 is the lowest. A number in a register is the value in the declared unit divided by the step: with
`Int16(1, step=0.1)` and mm/s, 1234 is 123.4 mm/s. The ranges are in the declared unit too. A Command's default is its
safe state; when its owner is silent, a node falls back to it as `on silence` says: off at once, along a ramp, or not
at all (hold).
"""

CODES: tuple[type[enum.IntEnum], ...] = (
    node.Result,
    node.Reason,
    node.Fault,
    node.JobState,
    node.TransferState,
    node.Op,
    node.TransferOp,
    node.TransferKind,
)


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield HEAD.format(
        count=node.REGISTERS,
        last=node.REGISTERS - 1,
        status=node.STATUS_AT,
        command=node.COMMAND_AT,
        transfer=node.TRANSFER_AT,
        bytes=node.TRANSFER_BYTES,
        machines=node.MACHINES_AT,
    )
    yield f"## Node Status\n\n{node.NodeStatus.__doc__} `magic` is {node.MAGIC:#06x}, `version` {node.VERSION}.\n"
    yield table(layout(node.NodeStatus), node.STATUS_AT)
    yield f"## Grant\n\n{node.NodeCommand.__doc__} A lease is 50 to 5000 ms.\n"
    yield table(layout(node.NodeCommand), node.COMMAND_AT, default=True)
    start = node.TRANSFER_AT + node.TRANSFER_HEAD
    yield f"## Transfer window\n\n{node.Transfer.__doc__} The bytes begin at register {start}.\n"
    yield table(layout(node.Transfer), node.TRANSFER_AT, default=True)
    yield "BEGIN carries the total length (u32, big-endian) and the SHA-256 of the whole (32 bytes).\n"
    for name in BUILT_IN_TYPES:
        kind = load(name)
        status, command = kind.layouts
        able = ", ".join(kind.capabilities) or "none"
        yield f"## {name}\n\n{kind.size} registers; offsets from the machine's base. Capabilities: {able}.\n"
        yield f"Status\n\n{table(status)}"
        yield f"Command\n\n{table(command, status.size, default=True)}"
    yield "## Codes\n"
    for codes in CODES:
        yield f"### {codes.__name__}\n\n{codes.__doc__}\n"
        yield ", ".join(f"{member.value} `{member.name}`" for member in codes) + ".\n"


def table(shape: Layout, at: int = 0, default: bool = False) -> str:
    """A record's registers as a Markdown table, the first of them being `at`."""
    head = ["register", "signal", "binding", "unit", "range", *(["default"] if default else []), "what"]
    lines = [_row(head), "|" + "---|" * len(head)]
    lines += [_row(_cells(signal, at, default)) for signal in shape.signals]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(signal: Signal, at: int, default: bool) -> list[str]:
    limits = f"{signal.range.low / signal.size:g} to {signal.range.high / signal.size:g}" if signal.range else ""
    cells = [_where(signal, at), f"`{signal.name}`", _binding(signal), signal.unit.symbol, limits]
    return [*cells, *([_default(signal)] if default else []), _what(signal)]


def _where(signal: Signal, at: int) -> str:
    binding = signal.binding
    first = at + binding.register
    if isinstance(binding, Bit):
        return f"{first}.{binding.bit}"
    return f"{first}" if binding.words == 1 else f"{first}–{first + binding.words - 1}"


def _binding(signal: Signal) -> str:
    binding = signal.binding
    if isinstance(binding, Bit):
        return "bit"
    name = str(binding).partition("(")[0]
    return name if binding.step == 1 else f"{name} step={binding.step:g}"


def _default(signal: Signal) -> str:
    value = signal.default
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value / signal.size:g}" if isinstance(value, float) else str(value)


def _what(signal: Signal) -> str:
    kind = signal.type.__name__
    linked = f"[{kind}](#{kind.lower()})" if issubclass(signal.type, enum.Enum) else ""
    text = " ".join(part for part in (linked, signal.text) if part)
    silence = f"on silence: {signal.on_silence.value}" if signal.on_silence else ""
    return "; ".join(part for part in (text, silence) if part)


if __name__ == "__main__":
    print(page(), end="")
