"""The virtual devices of a factory: pymodbus servers in the rig's own process, which answer within the instant of the question."""

import asyncio
import logging
import selectors
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from hil.ports import PortError, check_port
from twin.clock import Ns, S
from twin.devices import Device, Mirrored, ModbusDevice
from twin.factory import Factory

KEPT = 1000


class DeviceError(Exception):
    """A virtual device that cannot be simulated; one line says why."""


class _Selector(selectors.BaseSelector):
    """Looks at sockets once and never waits: where nothing is ready, its loop has done all it could at this instant."""

    def __init__(self) -> None:
        self._real = selectors.PollSelector()
        self.idle: Callable[[], None] = lambda: None

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map() or {}

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and (timeout is None or timeout > 0):
            self.idle()
        return ready

    @property
    def stirred(self) -> bool:
        """Whether a socket is ready."""
        return bool(self._real.select(0))


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is the rig's, and which runs until there is nothing left to do at this instant."""

    def __init__(self, now: Callable[[], Ns]) -> None:
        self.looked = _Selector()
        self._factory_now = now
        super().__init__(self.looked)
        self.looked.idle = self.stop

    def time(self) -> float:
        return self._factory_now() / S


class Devices:
    """The virtual devices of a factory, in the hands of the rig.

    Attributes:
        on: by name, whether it has power.
        answered: by name, when it answered, the latest. It is not in the trace: a client in wall time may ask as well.

    Args:
        now: factory time.
    """

    def __init__(self, factory: Factory, now: Callable[[], Ns]) -> None:
        self._devices = {name: device for name, device in factory.devices.items() if device.virtual}
        self._machines = {
            name: [machine for machine in factory.mirrored.values() if machine.node == name] for name in self._devices
        }
        self._now = now
        self.on = dict.fromkeys(self._devices, False)
        self._servers: dict[str, Any] = {}
        self.answered: dict[str, deque[Ns]] = {name: deque(maxlen=KEPT) for name in self._devices}
        self._loop: _Loop | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __contains__(self, name: object) -> bool:
        return name in self._devices

    def place(self, name: str) -> tuple[str, int]:
        """Where a device listens."""
        reached = self._devices[name].reached
        assert isinstance(reached, ModbusDevice), name  # an OPC UA server is never virtual
        return reached.host, reached.port

    def power(self, name: str, on: bool) -> None:
        """Switch a device on or off; its connections end with its power.

        Raises:
            PortError: something else listens where it has to.
            DeviceError: nothing simulates what it is.
        """
        if on == self.on[name]:
            return
        if self._loop is None:
            self._loop = _Loop(self._now)
        self._loop.run_until_complete(self._start(self._devices[name]) if on else self._servers.pop(name).shutdown())
        self.on[name] = on
        self.pump(self._now())

    async def _start(self, device: Device) -> None:
        from pymodbus.server import ModbusTcpServer  # loaded where a factory has such a device

        from hil.devices.device import Nobody

        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # it tells of every client that leaves
        host, port = self.place(device.name)
        check_port(device.name, host, port)
        units = [simulation(machine, self._now) for machine in self._machines[device.name]]
        server = ModbusTcpServer(
            units,
            address=(host, port),
            trace_pdu=partial(self._count, device.name),
        )
        units_of: Any = server.context
        units_of.devices[0] = Nobody()
        try:
            await server.serve_forever(background=True)
        except RuntimeError as failed:
            raise PortError(f"device {device.name} can't listen at {host}:{port}: {failed}") from failed
        self._servers[device.name] = server

    def _count(self, name: str, sending: bool, pdu: Any) -> Any:
        if sending:
            self.answered[name].append(self._now())
        return pdu

    def pump(self, now: Ns) -> bool:
        """Let them answer what has reached them by now; whether anything had."""
        if self._loop is None or not self._loop.looked.stirred:
            return False
        self._loop.run_forever()
        return True

    def close(self) -> None:
        """Switch everything off."""
        if self._loop is None:
            return
        for name in self._devices:
            self.power(name, False)
        self._loop.close()
        self._loop = None


def at_port(device: Device, port: int) -> Device:
    """The same device behind a link of the rig's."""
    assert isinstance(device.reached, ModbusDevice), device
    return replace(device, reached=replace(device.reached, port=port))


def simulation(machine: Mirrored, now: Callable[[], Ns]) -> Any:
    """The pymodbus device that stands in for a machine.

    Raises:
        DeviceError: nothing simulates what its Map is for.
    """
    from hil.devices.device import Behaviour, simulated
    from hil.devices.inverter import Inverter
    from hil.devices.meter import Meter
    from hil.devices.ur import Arm

    kinds: dict[str, Callable[[], Behaviour]] = {"sdm630": Meter, "ur_e_series": Arm, "sunspec_inverter": Inverter}
    if machine.map.name not in kinds:
        raise DeviceError(
            f"machines.{machine.name}: its node is virtual, and nothing simulates a {machine.map.name}; "
            f"there are {', '.join(kinds)}"
        )
    return simulated(machine.unit, kinds[machine.map.name](), now)
