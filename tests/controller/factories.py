"""Factories for the controller's tests."""

from pathlib import Path

import controller
from twin.factory import Factory, parse, read

DEMO = Path(controller.__file__).parent / "demo" / "factory.toml"


def demo() -> Factory:
    """The demo factory."""
    return read(DEMO)


def with_ports(ports: dict[str, int], name: str = "demo") -> Factory:
    """The demo factory, its nodes at other ports."""
    text = DEMO.read_text().replace('name = "demo"', f'name = "{name}"')
    for node, port in (("printer-1", 15021), ("belt-1", 15022)):
        text = text.replace(f"port = {port}", f"port = {ports[node]}")
    return parse(text, DEMO.parent)


def belts(bases: list[int]) -> Factory:
    """One node with a conveyor at each base."""
    head = '[factory]\nname = "belts"\n[cells.c]\n[nodes.n]\nuid = 1\n'
    names = ("at_entry", "at_exit", "tripped", "run", "speed")
    machines = [
        f'[machines.b{i}]\ntype = "conveyor"\ncell = "c"\nnode = "n"\nbase = {base}\n'
        f"pins = {{ {', '.join(f'{n} = {(5 * i + k) % 40}' for k, n in enumerate(names))} }}\n"
        for i, base in enumerate(bases)
    ]
    return parse(head + "".join(machines), DEMO.parent)
