"""Keeps the board on its network, Wi-Fi or Ethernet. The only file that imports `network`, loaded where node.json names one.

The card is looked at four times a second, and each look is short. What it says of itself is believed only when it has said so for a
while: a card may call itself connected without an address, between two access points, or to a network that carries nothing.
"""

import asyncio
from time import ticks_diff, ticks_ms

import network

from node import log, pins
from node import registers as reg

SECRET = "wifi.key"
LOOK_MS = 250
CONNECT_MS = 15_000
SETTLE_MS = 2000
DOUBT_MS = 3000
QUIET_MS = 300_000  # nobody has commanded for so long: perhaps nobody can
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1000, 60_000
WAITING, CONNECTING, SETTLING, UP, DOUBTED = range(5)


class Network:
    """One card.

    Args:
        config: the network section of node.json.

    Attributes:
        state: one of the above.
        beat: set with every look.
    """

    def __init__(self, config, bank):
        self.beat = True
        self.state = WAITING
        self._bank = bank
        self._ssid = config.get("ssid")
        self._password = _password()
        self._card = _wifi(config) if config["kind"] == "wifi" else _ethernet(config)
        if config.get("address"):
            self._card.ifconfig((config["address"], config["mask"], config["gateway"], config["dns"]))
        self._wait_ms = self._pause_ms = FIRST_PAUSE_MS
        self._since = self._commanded = ticks_ms()
        self._begin(self._since)

    async def run(self):
        """Look, for ever."""
        while True:
            self.look(ticks_ms())
            self.beat = True
            await asyncio.sleep_ms(LOOK_MS)

    def look(self, now):
        """One short step."""
        state = self.state
        elapsed = ticks_diff(now, self._since)
        if state == WAITING:
            if elapsed >= self._wait_ms:
                self._begin(now)
        elif state == UP:
            self._look_after(now)
        elif not self._linked():
            if state == SETTLING:
                self._enter(CONNECTING, now)
            elif elapsed >= (DOUBT_MS if state == DOUBTED else CONNECT_MS):
                self._give_up(now, "no connection")
        elif state == CONNECTING:
            self._enter(SETTLING, now)
        elif state == DOUBTED:
            self._enter(UP, now)
        elif elapsed >= SETTLE_MS:
            self._arrive(now)

    def _look_after(self, now):
        if self._bank.bit(reg.S_LEASED, reg.S_LEASED_BIT):
            self._commanded = now
        if not self._linked():
            self._enter(DOUBTED, now)
        elif ticks_diff(now, self._commanded) >= QUIET_MS:
            self._give_up(now, "nobody has commanded for %d s" % (QUIET_MS // 1000))

    def _linked(self):
        try:
            return self._card.isconnected() and self._card.ifconfig()[0] not in ("", "0.0.0.0")
        except OSError:
            return False

    def _enter(self, state, now):
        self.state = state
        self._since = now

    def _arrive(self, now):
        self._enter(UP, now)
        self._commanded = now
        self._pause_ms = FIRST_PAUSE_MS
        log.say("i", "network: at %s" % self._card.ifconfig()[0])

    def _begin(self, now):
        self._enter(CONNECTING, now)
        try:
            self._card.active(True)
            if self._ssid is not None:
                self._card.connect(self._ssid, self._password)
        except OSError as refused:
            self._give_up(now, "refused, %s" % refused)

    def _give_up(self, now, why):
        log.say("w", "network: %s; again in %d s" % (why, self._pause_ms // 1000))
        self._enter(WAITING, now)
        try:
            if self._ssid is not None:
                self._card.disconnect()
            else:
                self._card.active(False)
        except OSError:
            pass  # it was not even that far
        self._wait_ms = self._pause_ms
        self._pause_ms = min(2 * self._pause_ms, LONGEST_PAUSE_MS)


def _password():
    """It lies in a file of its own, which nobody can read out."""
    try:
        with open(SECRET) as file:
            return file.readline().rstrip("\n")
    except OSError:
        return None


def _wifi(config):
    card = network.WLAN(network.STA_IF)
    card.active(True)
    try:
        card.config(reconnects=0)  # when to try again is decided here
        card.config(pm=0)  # a radio that sleeps answers late
    except (OSError, ValueError):
        pass  # a port without the option
    return card


def _ethernet(config):
    pin = pins.Pin
    power = config.get("power")
    return getattr(network, config["kind"].upper())(
        mdc=pin(config["mdc"]),
        mdio=pin(config["mdio"]),
        power=None if power is None else pin(power),
        phy_type=getattr(network, "PHY_" + config["phy"]),
        phy_addr=config["phy_address"],
    )
