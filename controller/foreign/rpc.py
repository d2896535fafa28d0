"""JSON-RPC 2.0 over Moonraker's websocket: calls with their answers, and what it tells by itself.

https://moonraker.readthedocs.io/en/latest/external_api/introduction/ and .../jsonrpc_notifications/.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

MOST_CALLS = 32
LONGEST = 4 * 1024 * 1024  # bytes of a message


class RpcError(Exception):
    """It was asked and has refused, and why."""


class RpcLost(Exception):
    """Whether it was done is unknown: the connection ended, or no answer came in time."""


class Rpc:
    """One connection's calls.

    Args:
        tell: called with each notification's method and parameters.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, tell: Callable[[str, list[Any]], None]) -> None:
        self._socket, self._tell = socket, tell
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.strange = 0

    async def call(self, method: str, params: dict[str, Any] | None = None, *, within: float = 10.0) -> Any:
        """The result of a method.

        Raises:
            RpcError: it was refused, or too many calls wait already.
            RpcLost: nobody knows.
        """
        if len(self._waiting) >= MOST_CALLS:
            raise RpcError(f"{MOST_CALLS} calls wait already")
        self._last += 1
        number = self._last
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_str(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, "id": number}))
            async with asyncio.timeout(within):
                return await answer
        except (TimeoutError, ConnectionError, aiohttp.ClientError) as lost:
            raise RpcLost(f"{method}: {str(lost) or 'no answer in time'}") from lost
        finally:
            self._waiting.pop(number, None)

    async def run(self) -> str:
        """Take in messages until the connection ends; why it did."""
        cause = "closed by Moonraker"
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(message.data)
                elif message.type is aiohttp.WSMsgType.ERROR:
                    cause = f"connection lost: {self._socket.exception()}"
                else:
                    self.strange += 1
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(RpcLost(cause))
        return cause

    async def close(self) -> None:
        """End the connection."""
        await self._socket.close()

    def _take(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            self.strange += 1
            return
        if not isinstance(message, dict):
            self.strange += 1
        elif "method" in message:
            params = message.get("params", [])
            if isinstance(message["method"], str) and isinstance(params, list):
                self._tell(message["method"], params)
            else:
                self.strange += 1
        else:
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        answer = self._waiting.get(number) if type(number) is int else None
        if answer is None or answer.done():
            self.strange += 1
        elif "result" in message:
            answer.set_result(message["result"])
        else:
            error = message.get("error")
            text = error.get("message") if isinstance(error, dict) else None
            answer.set_exception(RpcError(str(text)[:200]))
