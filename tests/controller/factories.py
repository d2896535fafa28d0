"""Factories for the controller's tests."""

from dataclasses import replace
from pathlib import Path

import controller
from twin.factory import Factory, parse, read

SHOP = Path(__file__).with_name("shop.toml")
DEMO = Path(controller.__file__).parent / "demo" / "factory.toml"


def shop() -> Factory:
    """A printer, and a belt that a person lays its parts on."""
    return read(SHOP)


def demo() -> Factory:
    """The demo factory: an arm carries what the printer has made to the belt."""
    return read(DEMO)


def with_ports(ports: dict[str, int], name: str = "shop", file: Path = SHOP) -> Factory:
    """A file's factory, its nodes at other ports."""
    made = read(file)
    nodes = {node.name: replace(node, port=ports[node.name]) for node in made.nodes.values()}
    return replace(made, name=name, nodes=nodes)


def belts(bases: list[int]) -> Factory:
    """One node with a conveyor at each base."""
    head = '[factory]\nname = "belts"\n[cells.c]\n[nodes.n]\nuid = 1\nvirtual = true\n'
    names = ("at_entry", "at_exit", "tripped", "run", "speed")
    machines = [
        f'[machines.b{i}]\ntype = "conveyor"\ncell = "c"\nnode = "n"\nbase = {base}\n'
        f"pins = {{ {', '.join(f'{n} = {(5 * i + k) % 40}' for k, n in enumerate(names))} }}\n"
        for i, base in enumerate(bases)
    ]
    return parse(head + "".join(machines), SHOP.parent)
