"""Files at a printer, over Moonraker's HTTP API: https://moonraker.readthedocs.io/en/latest/external_api/file_manager/."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

LIMIT = aiohttp.ClientTimeout(total=25.0, sock_connect=5.0)
ROOT = "gcodes"
CONNECT_S = 5.0


class KeyUnusable(Exception):
    """The file of the API key is none that can be used, and why."""


def key_of(path: Path | None) -> str:
    """The API key of a file; empty where there is to be none.

    Raises:
        KeyUnusable: it cannot be read, others can read it, or it holds something else.
    """
    if path is None:
        return ""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyUnusable(f"{path} can be read by others: chmod 600")
        key = path.read_bytes().strip().decode("ascii", "replace")
    except OSError as failed:
        raise KeyUnusable(f"{path}: {failed.strerror}") from failed
    if not (key.isascii() and key.isprintable() and key):
        raise KeyUnusable(f"{path}: no key of one line in plain letters")
    return key


def session(key: str) -> aiohttp.ClientSession:
    """A session that shows the API key, where there is one, to the printer alone: it follows nobody who sends it elsewhere."""

    async def refuse(*redirect: Any) -> None:
        raise aiohttp.ClientError("it sends us elsewhere, and the key does not go there")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    headers = {"X-Api-Key": key} if key else {}
    timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S)
    return aiohttp.ClientSession(headers=headers, timeout=timeout, trace_configs=[trace])


class Files:
    """The printer's `gcodes`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def put(self, name: str, data: bytes, sha256: str) -> None:
        """Upload a file and read it back.

        Raises:
            aiohttp.ClientError, TimeoutError: it could not be.
            OSError: what is there is something else.
        """
        folder, _, leaf = name.rpartition("/")
        form = aiohttp.FormData()
        form.add_field("root", ROOT)
        form.add_field("path", folder)
        form.add_field("checksum", sha256)
        form.add_field("file", data, filename=leaf, content_type="application/octet-stream")
        async with self._session.post(f"{self._url}/server/files/upload", data=form, timeout=LIMIT) as response:
            response.raise_for_status()
        if await self._digest(name, len(data)) != sha256:
            raise OSError(f"{name} is not what was uploaded")

    async def _digest(self, name: str, most: int) -> str:
        found, size = hashlib.sha256(), 0
        async with self._session.get(self._of(name), timeout=LIMIT) as response:
            response.raise_for_status()
            async for piece in response.content.iter_chunked(65536):
                size += len(piece)
                if size > most:
                    return ""
                found.update(piece)
        return found.hexdigest()

    async def remove(self, name: str) -> None:
        """Delete a file."""
        async with self._session.delete(self._of(name), timeout=LIMIT) as response:
            response.raise_for_status()

    def _of(self, name: str) -> str:
        return f"{self._url}/server/files/{ROOT}/{quote(name)}"
