"""Instances of the Machinery model's MachineIdentificationType: what is mandatory and what is known, no more."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import node_key, qualified, string, text
from controller.opcua.events import browse_text
from controller.opcua.nodes.nodeset import DATA_TYPE_OF, EVENT_NOTIFIER
from controller.opcua.nodes.sources import DI, MACHINERY
from controller.opcua.nodes.store import HAS_SUBTYPE, NO_NODE, OBJECT, Nodes
from controller.opcua.space import Nameplate

if TYPE_CHECKING:
    from controller.opcua.nodes.build import Builder

MACHINE_IDENTIFICATION: Final = 1012
"""In the Machinery namespace."""
_LOCALIZED_TEXT: Final = node_key(0, ObjectIds.LocalizedText)


class Nameplates:
    """Hangs nameplates on machines and their types."""

    def __init__(self, builder: "Builder") -> None:
        nodes = builder.nodes
        self._builder = builder
        self._name = qualified("Identification", nodes.namespaces.index(DI))
        self._kind = builder.there(nodes.namespaces.index(MACHINERY), MACHINE_IDENTIFICATION)
        self._declared = tuple(_declarations(nodes, self._kind))

    def hang_on(self, owner: str, nameplate: Nameplate | None) -> None:
        """Add `Identification` to a machine, or to its type where there is no nameplate.

        Raises:
            LookupError: the model wants something that no nameplate has.
        """
        builder, path = self._builder, f"{owner}/Identification"
        new = builder.add(
            path,
            OBJECT,
            self._name,
            {EVENT_NOTIFIER: b"\x03\x00"},
            description="The machine's nameplate",
            kind=self._kind,
            parent=(builder.has_add_in, builder.ours(owner)),
        )
        known = _plate(nameplate)
        for wanted, is_mandatory, data_type in self._declared:
            name = browse_text(wanted)
            if is_mandatory and name not in known:
                raise LookupError(f"the Machinery model wants {name}, which no nameplate has")
            if name in known and (is_mandatory or nameplate is not None):
                value = b"\x15" + text(known[name]) if data_type == _LOCALIZED_TEXT else b"\x0c" + string(known[name])
                below = builder.property(new, f"{path}/{name}", wanted, data_type, value)
                if nameplate is None:
                    builder.mandatory(below)
        if nameplate is None:
            builder.mandatory(new)


def _plate(nameplate: Nameplate | None) -> Mapping[str, str]:
    plate = nameplate or Nameplate("", "", "", "", "")
    return {
        "Manufacturer": plate.manufacturer,
        "Model": plate.model,
        "SerialNumber": plate.serial_number,
        "ProductInstanceUri": plate.product_instance_uri,
        "Location": plate.location,
    }


def _declarations(nodes: Nodes, kind: int) -> Iterator[tuple[bytes, bool, bytes]]:
    """The properties that a type and its supertypes declare: whether mandatory, and their data type.

    The nearest declaration of a name rules; placeholders and declarations without a rule are left out.
    """
    has_property, has_rule = nodes.standard(ObjectIds.HasProperty), nodes.standard(ObjectIds.HasModellingRule)
    rules = {
        nodes.standard(ObjectIds.ModellingRule_Mandatory): True,
        nodes.standard(ObjectIds.ModellingRule_Optional): False,
    }
    seen: set[bytes] = set()
    while kind != NO_NODE:
        for below in nodes.targets(kind, has_property):
            name = nodes.browse_names[below]
            rule = next(nodes.targets(below, has_rule), NO_NODE)
            if name not in seen and rule in rules:
                yield name, rules[rule], nodes.attributes[below][DATA_TYPE_OF][1:]
            seen.add(name)
        kind = next(nodes.targets(kind, nodes.standard(HAS_SUBTYPE), forward=False), NO_NODE)
