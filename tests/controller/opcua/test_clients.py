"""What clients see, and that three independent ones see the same."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from cryptography import x509

from controller.opcua.certificate import TOOLS, own
from tests.controller.opcua.conftest import Site
from tests.controller.opcua.rig import PATIENCE_S, ROOT, connected, eventually, node
from twin.clock import utc_ns

HERE = Path(__file__).parent
PATHS = (
    "printer-1/status/hotend_temperature",
    "printer-1/status/x",
    "printer-1/status/hotend_power",
    "printer-1/status/filament",
    "printer-1/job/program",
    "belt-1/status/parts",
    "belt-1/status/speed",
    "node:printer-1/status/fault",
    "node:printer-1/status/boot_id",
)
SHOWN = {
    "printer-1/status/hotend_temperature": (210.5, "Double", "°C", "CEL", [-20, 450]),
    "printer-1/status/x": (120.5, "Double", "mm", "MMT", [-5, 2000]),
    "printer-1/status/hotend_power": (62.5, "Double", "%", "P1", [0, 100]),
    "printer-1/status/filament": (True, "Boolean", None, None, None),
    "printer-1/job/program": ("cube.gcode", "String", None, None, None),
    "belt-1/status/parts": (65_535, "UInt32", None, None, None),
    "belt-1/status/speed": (250.0, "Double", "mm/s", "C16", [0, 500]),
    "node:printer-1/status/fault": (1, "Int32", None, None, None),
    "node:printer-1/status/boot_id": (4_000_000_000, "UInt32", None, None, None),
}


def needed(name: str, found: str | None) -> str:
    """A tool that setup makes; its absence is a failure, not a reason to skip."""
    assert found and Path(found).exists(), f"{name} is missing: run `make setup-test`"
    return found


def ran(command: list[str], site: Site) -> dict[str, Any]:
    """What a client's script tells of all paths."""
    identity = own(site.face.state / "pki", "client", TOOLS)
    files = [str(identity.certificate_file), str(identity.key_file)]
    whole = [*command, site.face.url, *files, *(node(path) for path in PATHS)]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {path: told[node(path)] for path in PATHS}


def same_as_shown(told: dict[str, Any]) -> None:
    """The values, types and units that the Feed's rows come to."""
    for path, (value, kind, unit, code, limits) in SHOWN.items():
        seen = told[path]
        assert seen["value"] == pytest.approx(value) if isinstance(value, float) else seen["value"] == value, path
        assert (seen["type"], seen["status"], seen["unit"]) == (kind, "Good", unit), path
        assert seen["unit_id"] == (int.from_bytes(code.encode(), "big") if code else None), path
        assert seen["range"] == (pytest.approx(limits) if limits else None), path


def test_python_opcua_reads_the_values_with_their_units(site: Site) -> None:
    named = os.environ.get("LOCKSTEP_OPCUA_PYTHON") or str(ROOT / ".venv-opcua/bin/python")
    same_as_shown(ran([needed("python-opcua", named), str(HERE / "client_python_opcua.py")], site))


def test_node_opcua_reads_the_values_with_their_units(site: Site) -> None:
    same_as_shown(ran([needed("node", shutil.which("node")), str(HERE / "client_node_opcua.js")], site))


def test_the_line_that_the_server_prints_reads_a_value(site: Site) -> None:
    line = next(line for line in site.face.lines if line.startswith("try: ")).removeprefix("try: ")
    needed("uaread", str(Path(sys.executable).with_name("uaread")))
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert float(done.stdout) == pytest.approx(120.5), done.stderr


async def _as_asyncua_reads(site: Site) -> dict[str, Any]:
    told = {}
    async with connected(site.face) as client:
        for path in PATHS:
            value = await client.get_node(node(path)).read_data_value(raise_on_bad_status=False)
            found = {
                ref.BrowseName.Name: await client.get_node(ref.NodeId).read_value()
                for ref in await client.get_node(node(path)).get_references(ua.ObjectIds.HasProperty)
                if ref.IsForward
            }
            unit, limits = found.get("EngineeringUnits"), found.get("EURange")
            told[path] = {
                "value": value.Value.Value,
                "type": value.Value.VariantType.name,
                "status": value.StatusCode.name,
                "unit": unit.DisplayName.Text if unit else None,
                "unit_id": unit.UnitId if unit else None,
                "range": [limits.Low, limits.High] if limits else None,
            }
    return told


def test_asyncua_reads_the_values_with_their_units(site: Site) -> None:
    same_as_shown(asyncio.run(_as_asyncua_reads(site)))


def test_a_value_has_the_time_at_which_it_was_received(site: Site) -> None:
    at = utc_ns() - 3_600_000_000_000

    async def read() -> Any:
        async with connected(site.face) as client:
            wanted = ua.ReadValueId(ua.NodeId.from_string(node("printer-1/status/bed_temperature")), ua.AttributeIds.Value)
            both = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=[wanted])
            return (await eventually(lambda: client.uaclient.session.read(both), lambda v: v[0].Value.Value == 60.0))[0]

    site.core.publish("printer-1/status/bed_temperature", 60.0, at=at)
    value = asyncio.run(read())
    assert abs(value.SourceTimestamp - datetime.fromtimestamp(at / 1e9, UTC)).total_seconds() < 1e-3
    assert value.ServerTimestamp > value.SourceTimestamp


@pytest.mark.parametrize(
    ("value", "quality", "cause", "status", "shown"),
    [
        (0.25, 0, "", "Good", 250.0),
        (0.25, 1, "no reply for 250 ms", "UncertainLastUsableValue", 250.0),
        (None, 1, "never heard", "BadWaitingForInitialData", None),
        (0.25, 2, "outside its range", "BadOutOfRange", None),
        (0.25, 2, "map differs: node says 0x1, factory 0x2", "BadConfigurationError", None),
        (0.25, 2, "something else", "Bad", None),
    ],
)
def test_quality_becomes_a_status(
    site: Site, value: float | None, quality: int, cause: str, status: str, shown: float | None
) -> None:
    async def read() -> Any:
        async with connected(site.face) as client:
            wanted = client.get_node(node("belt-1/command/speed"))
            return await eventually(lambda: wanted.read_data_value(False), lambda v: v.StatusCode.name == status)

    site.core.publish("belt-1/command/speed", value, quality, cause)
    assert asyncio.run(read()).Value.Value == (pytest.approx(shown) if shown else None)


def test_what_was_never_told_waits_for_its_first_value(site: Site) -> None:
    async def read() -> Any:
        async with connected(site.face) as client:
            return await client.get_node(node("printer-1/status/fan")).read_data_value(False)

    assert asyncio.run(read()).StatusCode.name == "BadWaitingForInitialData"


async def _children(client: Any, parent: Any, reference: int = ua.ObjectIds.HierarchicalReferences) -> dict[str, Any]:
    found = await parent.get_children_descriptions(reference)
    return {ref.BrowseName.Name: client.get_node(ref.NodeId) for ref in found}


def test_each_machine_stands_under_machines_with_its_identification(site: Site) -> None:
    async def look() -> None:
        async with connected(site.face) as client:
            spaces = await client.get_namespace_array()
            machinery, di = (spaces.index(f"http://opcfoundation.org/UA/{name}/") for name in ("Machinery", "DI"))
            assert spaces[2] == "urn:lockstep:factory:shop"
            machines = await client.nodes.objects.get_child(f"{machinery}:Machines")
            found = await _children(client, machines)
            assert list(found) == ["printer-1", "belt-1"]
            (added,) = await found["printer-1"].get_references(ua.ObjectIds.HasAddIn)
            assert added.BrowseName == ua.QualifiedName("Identification", di)
            assert added.TypeDefinition == ua.NodeId(1012, machinery)
            plate = await _children(client, client.get_node(added.NodeId))
            shown = {name: await property.read_value() for name, property in plate.items()}
            assert shown == {
                "ProductInstanceUri": "urn:lockstep:factory:shop:printer-1",
                "Manufacturer": ua.LocalizedText("Lockstep"),
                "SerialNumber": "1-256",
                "Model": ua.LocalizedText("printer"),
                "Location": "print-shop",
            }

    asyncio.run(look())


def test_a_machine_is_an_instance_of_its_types_object_type(site: Site) -> None:
    async def look() -> None:
        async with connected(site.face) as client:
            printer = client.get_node(node("printer-1"))
            kind = client.get_node(await printer.read_type_definition())
            assert (await kind.read_browse_name()).Name == "PrinterType"
            for group in ("Status", "Command", "Job"):
                declared = await (await kind.get_child(f"2:{group}")).get_children_descriptions()
                here = await (await printer.get_child(f"2:{group}")).get_children_descriptions()
                facts = [(r.BrowseName, r.TypeDefinition, r.NodeClass) for r in declared]
                assert facts == [(r.BrowseName, r.TypeDefinition, r.NodeClass) for r in here] and facts
            every = [*await _children(client, printer), *await _children(client, kind)]
            assert not [name for name in every if name.startswith("<")]

    asyncio.run(look())


def test_an_enumerations_numbers_have_names(site: Site) -> None:
    async def look() -> list[str]:
        async with connected(site.face) as client:
            fault = client.get_node(node("node:printer-1/status/fault"))
            kind = client.get_node(await fault.read_data_type())
            assert (await kind.read_browse_name()).Name == "Fault"
            return [text.Text for text in await (await kind.get_child("0:EnumStrings")).read_value()]

    assert asyncio.run(look())[:3] == ["NONE", "SILENCE", "OVER_TEMPERATURE"]


class Heard:
    """Notes what a subscription brings."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def datachange_notification(self, _node: Any, value: Any, _data: Any) -> None:
        """A value has changed."""
        self.values.append(value)


def test_two_subscribed_clients_both_get_every_change(site: Site) -> None:
    async def subscribe() -> tuple[list[Any], list[Any]]:
        async with connected(site.face) as first, connected(site.face, name="other") as second:
            heard = Heard(), Heard()
            for client, notes in zip((first, second), heard, strict=True):
                subscription = await client.create_subscription(50, notes)
                await subscription.subscribe_data_change(client.get_node(node("printer-1/status/z")))
            for step in range(1, 6):
                site.core.publish("printer-1/status/z", step / 1000)
                for notes in heard:
                    await eventually(_last(notes), lambda value, step=step: value == pytest.approx(step))
            return heard[0].values, heard[1].values

    first, second = asyncio.run(subscribe())
    assert first[-5:] == second[-5:] == [pytest.approx(step) for step in range(1, 6)]


def _last(heard: Heard) -> Any:
    async def last() -> Any:
        return heard.values[-1] if heard.values else None

    return last


def test_only_this_computer_can_connect_and_the_certificate_names_the_server(site: Site) -> None:
    assert site.face.address[0] == "127.0.0.1"
    certificate = x509.load_der_x509_certificate((site.face.state / "pki/server.der").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:lockstep:server:shop"]
