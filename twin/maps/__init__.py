"""Maps: where the Signals of machines that are not ours lie, and what they mean. Pure; text comes in from `twin.factory`."""

from twin.maps.map import (
    CLASSES,
    Access,
    Deadband,
    Form,
    Map,
    MapError,
    Mapped,
    Method,
    NodePlace,
    Order,
    Place,
    Places,
    Table,
)

__all__ = [
    "CLASSES", "Access", "Deadband", "Form", "Map", "MapError", "Mapped", "Method", "NodePlace", "Order", "Place", "Places",
    "Table",
]  # fmt: skip
