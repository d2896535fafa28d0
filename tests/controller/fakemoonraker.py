"""A Moonraker with a Klipper behind it, as far as its public API goes, for the controller's tests.

Written from https://moonraker.readthedocs.io/en/latest/external_api/ (introduction, printer, file_manager, jsonrpc_notifications).
"""

import hashlib
import json
from typing import Any

from aiohttp import WSMsgType, web

KEY = "00112233445566778899aabbccddeeff"


class FakeMoonraker:
    """One printer.

    Attributes:
        calls: every method that was called, with its parameters, but for what only asks.
        files: below gcodes. objects: what Klipper shows. klippy: its state.
        mute: calls get no answer. refuse: methods that are answered with an error. spoil: uploads are kept otherwise.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}
        self.klippy = "ready"
        self.mute = self.spoil = False
        self.refuse: set[str] = set()
        self.objects: dict[str, dict[str, Any]] = {
            "webhooks": {"state": "ready", "state_message": ""},
            "print_stats": {"filename": "", "state": "standby", "message": "", "filament_used": 0.0},
            "virtual_sdcard": {"file_position": 0, "is_active": False},
            "toolhead": {"position": [0.0, 0.0, 0.0, 0.0], "homed_axes": ""},
            "extruder": {"temperature": 21.5, "target": 0.0},
            "heater_bed": {"temperature": 22.0, "target": 0.0},
            "fan": {"speed": 0.0},
            "display_status": {"progress": 0.0},
        }
        self.sockets: list[web.WebSocketResponse] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> int:
        """Listen; the port."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/websocket", self._socket)
        app.router.add_post("/server/files/upload", self._upload)
        app.router.add_get("/server/files/gcodes/{name:.*}", self._download)
        app.router.add_delete("/server/files/gcodes/{name:.*}", self._delete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self.port

    async def stop(self) -> None:
        """Gone, with its connections."""
        for socket in list(self.sockets):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def called(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)

    async def show(self, **objects: dict[str, Any]) -> None:
        """Klipper shows something new."""
        for name, fields in objects.items():
            self.objects[name].update(fields)
        await self.notify("notify_status_update", [objects, 1.0])

    async def notify(self, method: str, params: list[Any]) -> None:
        for socket in list(self.sockets):
            await socket.send_str(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def say(self, text: str) -> None:
        """Any text on every connection."""
        for socket in list(self.sockets):
            await socket.send_str(text)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        if request.headers.get("X-Api-Key") != KEY:
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not self.mute:
                    asked = json.loads(message.data)
                    reply = await self._call(asked["method"], asked.get("params", {}))
                    await socket.send_str(json.dumps({"jsonrpc": "2.0", **reply, "id": asked["id"]}))
        finally:
            self.sockets.remove(socket)
        return socket

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "server.info":
            return {"result": {"klippy_connected": True, "klippy_state": self.klippy}}
        if method == "printer.objects.subscribe":
            wanted = {name: {k: self.objects[name][k] for k in keys} for name, keys in params["objects"].items()}
            return {"result": {"status": wanted, "eventtime": 1.0}}
        self.calls.append((method, params))
        if method in self.refuse:
            return {"error": {"code": 400, "message": "Klipper says no"}}
        match method:
            case "printer.print.start":
                if params["filename"] not in self.files:
                    return {"error": {"code": 400, "message": "Unable to open file"}}
                await self.show(print_stats={"filename": params["filename"], "state": "printing"})
            case "printer.print.pause":
                await self.show(print_stats={"state": "paused"})
            case "printer.print.resume":
                await self.show(print_stats={"state": "printing"})
            case "printer.print.cancel":
                await self.show(print_stats={"state": "cancelled"})
            case "printer.emergency_stop":
                self.klippy = "shutdown"
                await self.notify("notify_klippy_shutdown", [])
            case "printer.gcode.script":
                await self.show(extruder={"target": 0.0}, heater_bed={"target": 0.0})
        return {"result": "ok"}

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        part = form["file"]
        assert isinstance(part, web.FileField)
        data = part.file.read()
        if hashlib.sha256(data).hexdigest() != form["checksum"]:
            raise web.HTTPUnprocessableEntity
        self.files[f"{form['path']!s}/{part.filename}"] = data[:-3] if self.spoil else data
        return web.json_response({"result": {}}, status=201)

    async def _download(self, request: web.Request) -> web.Response:
        found = self.files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found)

    async def _delete(self, request: web.Request) -> web.Response:
        if self.files.pop(request.match_info["name"], None) is None:
            raise web.HTTPNotFound
        return web.json_response({"result": {}})
