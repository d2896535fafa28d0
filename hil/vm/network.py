"""`network` for the VM: a card that does what `network.txt` in the node's folder says, `MS WHAT` a line, from that time on.

`up`: it connects within a second; `never`: it does not; `lies`: it calls itself connected and has no address; `drops`: it is lost,
though a new connect() brings it back; `fails`: every call raises. Without the file it is up.
"""

import vm_link

STA_IF, AP_IF = 0, 1
PHY_LAN8720, PHY_IP101, PHY_RTL8201, PHY_DP83848, PHY_KSZ8041 = 0, 1, 2, 3, 4
CONNECTING_US = 800_000


def _script():
    try:
        with open("network.txt") as file:
            lines = [line.split() for line in file if line.strip()]
    except OSError:
        return [(0, "up")]
    return [(1000 * int(at), what) for at, what in lines]


class _Card:
    def __init__(self):
        self._script = _script()
        self._asked = None
        self._active = False
        self.address = "192.0.2.7"

    def _now(self):
        found = "up"
        since = 0
        for at, what in self._script:
            if vm_link.now >= at:
                found, since = what, at
        if found == "fails":
            raise OSError(5)
        return found, since

    def active(self, on=None):
        self._now()
        if on is None:
            return self._active
        self._active = on
        if not on:
            self._asked = None

    def connect(self, ssid=None, password=None):
        self._now()
        self._asked = vm_link.now

    def disconnect(self):
        self._now()
        self._asked = None

    def isconnected(self):
        what, since = self._now()
        if what == "lies":
            return True
        if what == "never" or self._asked is None or not self._active:
            return False
        if what == "drops" and self._asked < since:
            return False
        return vm_link.now - self._asked >= CONNECTING_US

    def ifconfig(self, what=None):
        if what is not None:
            self.address = what[0]
        return (self.address if self._now()[0] != "lies" else "0.0.0.0", "255.255.255.0", "192.0.2.1", "192.0.2.1")

    def config(self, *asked, **wanted):
        return None


class WLAN(_Card):
    def __init__(self, interface=STA_IF):
        super().__init__()


class LAN(_Card):
    def __init__(self, *, mdc, mdio, power, phy_type, phy_addr):
        super().__init__()
        self._asked = 0
