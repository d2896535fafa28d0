"""The Foundation's files: those that are served, and all that the coming models need."""

from functools import cache
from pathlib import Path

from controller.opcua.nodes import sources
from controller.opcua.nodes.nodeset import Loaded, load

SERVED = sources.files()
_FOLDER = SERVED[0].parent
MORE = tuple(
    _FOLDER / name
    for name in (
        "Opc.Ua.Robotics.NodeSet2.xml",
        "Opc.Ua.PackML.NodeSet2.xml",
        "Opc.Ua.IRDI.NodeSet2.xml",
        "Opc.Ua.PADIM.NodeSet2.xml",
        "Opc.Ua.Machinery.ProcessValues.NodeSet2.xml",
        "Opc.Ua.Machinery_Result.NodeSet2.xml",
        "opc.ua.isa95-jobcontrol.nodeset2.xml",
        "Opc.Ua.Machinery.Jobs.Nodeset2.xml",
        "Opc.Ua.MachineTool.NodeSet2.xml",
    )
)
NAMESPACES = ("urn:application", "urn:ours")


def named(name: str) -> Path:
    """A file by what it is called in short."""
    (found,) = (file for file in (*SERVED, *MORE) if file.name.lower() == f"opc.ua.{name}.nodeset2.xml".lower())
    return found


@cache
def every() -> Loaded:
    """All files, loaded once for those who only look."""
    return load((*SERVED, *MORE), NAMESPACES)
