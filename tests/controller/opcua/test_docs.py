"""The page for people who connect a client: its programs do what it says."""

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asyncua.ua.status_codes import StatusCodes

from controller.__main__ import main
from controller.feed import feed_signals
from controller.history import FOLDER
from controller.history.hot import Hot
from controller.history.kept import GOOD, Kept
from controller.opcua.space import space
from controller.orders.turn import Answer, Request
from tests.controller.factories import shop
from tests.controller.opcua.conftest import PASSWORDS, Site
from tests.controller.opcua.rig import PATIENCE_S, ROOT, Core, eventually, yes
from tests.controller.opcua.test_clients import needed

PAGE = ROOT / "docs/how-to/connect-an-opcua-client.md"
PARTS = "belt-1/status/parts"
RECORDED = [3, 1, 4, 1, 5, 9, 2, 6]


def blocks(language: str) -> list[str]:
    """The page's pieces of code."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the page's certificate was made."""
    folder = tmp_path_factory.mktemp("report")
    (made,) = blocks("sh")
    subprocess.run(["bash", "-euc", made], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def trusted(site: Site, files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, once the server knows the certificate; we are there."""
    assert main(["trust", "--state", str(site.face.state), "add", str(files / "report.pem")]) == 0
    time.sleep(1.1)  # the list is looked at once a second
    shutil.copy(site.face.state / "pki/server.der", files)
    monkeypatch.chdir(files)
    return files


@pytest.fixture(scope="module")
def lived(_site: Site) -> datetime:
    """When eight values were recorded, a minute apart: the first one's time."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=9)
    hot = Hot(_site.face.state / FOLDER)
    number = hot.declare([Kept(PARTS, int)])[PARTS]
    first = int(start.timestamp()) * 10**9
    hot.commit(hot.samples([(number, first + i * 60 * 10**9, n, GOOD, "") for i, n in enumerate(RECORDED)]))
    hot.close()
    return start


@contextmanager
def refusing(core: Core) -> Iterator[None]:
    """A core that resets nothing."""

    def no(request: Request) -> Answer:
        return Answer(request.id, False, "nothing to reset") if request.kind == "reset" else yes(request)

    core.answer = no
    try:
        yield
    finally:
        core.answer = yes


class Heard:
    """Notes what a subscription brings."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}

    def datachange_notification(self, node: Any, value: Any, _data: Any) -> None:
        """A value has changed."""
        self.values.setdefault(node.nodeid.Identifier, []).append(value)


def test_the_pages_asyncua_does_all_that_it_says(site: Site, trusted: Path, lived: datetime) -> None:
    page: dict[str, Any] = {}
    exec(blocks("python")[0], page)
    core, heard = site.core, Heard()

    async def bands(client: Any) -> None:
        core.publish("belt-1/status/speed", 0.25)
        subscription = await page["watch"](client, [PARTS], "belt-1/status/speed", 10.0, heard)
        await eventually(_of(heard), lambda values: len(values) == 2)
        for step in range(1, 7):
            core.publish("belt-1/status/speed", 0.25 + 0.004 * step)
            core.publish(PARTS, 60_000 + step)
            await eventually(_of(heard), partial(_last_is, 60_000 + step))
        await subscription.delete()
        core.publish("belt-1/status/speed", 0.25)  # as others expect them
        core.publish(PARTS, 65_535)

    async def work() -> None:
        async with await page["connection"](site.face.url, "otto", PASSWORDS["otto"]) as client:
            value, status, _ = await page["read"](client, "printer-1/status/x")
            assert (value, status) == (pytest.approx(120.5), "Good")
            assert await page["call"](client, "belt-1", "Reset") == [True, "reset for otto", 7]
            with refusing(core), pytest.raises(RuntimeError, match=r"nothing to reset \(BadInvalidState"):
                await page["call"](client, "belt-1", "Reset")
            await page["write"](client, "belt-1/setpoint/speed", 80.0)
            assert core.asked[-1].kind == "write" and core.asked[-1].args["value"] == 80.0
            with pytest.raises(Exception, match="BadWriteNotSupported"):
                await client.get_node("ns=2;s=belt-1/setpoint/speed").write_value(80.0)
            await bands(client)
            assert [round(value) for value in heard.values["belt-1/status/speed"]] == [250, 262, 274]
            end = lived + timedelta(minutes=8)
            assert [one.Value.Value for one in await page["past"](client, PARTS, lived, end)] == RECORDED
            halves = await page["processed"](client, PARTS, lived, end, 240.0)
            assert [one.Value.Value for one in halves] == [sum(RECORDED[:4]) / 4, sum(RECORDED[4:]) / 4]

    asyncio.run(work())


def _last_is(value: int, values: dict[str, list[Any]]) -> bool:
    return bool(values[PARTS][-1] == value)


def _of(heard: Heard) -> Any:
    async def values() -> Any:
        return heard.values

    return values


def test_the_pages_python_opcua_does_all_that_it_says(site: Site, trusted: Path, lived: datetime) -> None:
    python = needed("python-opcua", str(ROOT / ".venv-opcua/bin/python"))
    (trusted / "report.py").write_text(blocks("python")[1].replace("time.sleep(1)", "time.sleep(0.3)"))
    command = [python, "report.py", site.face.url, "otto", PASSWORDS["otto"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert said[:2] == ["read 210.5", "called [True, 'reset for otto', 7]"]
    assert {line.split()[1] for line in said if line.startswith("heard ")} == {PARTS, "printer-1/status/hotend_temperature"}
    past = [line.rsplit(" ", 1)[1] for line in said if line.startswith("past ")]
    assert [int(value) for value in past if value != "None"] == RECORDED
    assert site.core.asked[-1].args["value"] == 80.0


def test_every_node_and_status_that_the_page_names_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = space(shop(), feed_signals(shop()))
    paths = {v.path for v in shown.variables} | {m.path for m in shown.methods} | {top.path for top, _ in shown.machines}
    named = set(re.findall(r"ns=2;s=([\w/-]+)", text))
    assert named and named <= paths, named - paths
    statuses = set(re.findall(r"\b(?:Bad|Uncertain)[A-Z]\w+", text))
    assert statuses <= set(vars(StatusCodes)), statuses - set(vars(StatusCodes))


def test_the_pages_flow_can_be_imported_and_is_wired() -> None:
    flow = {node["id"]: node for node in json.loads(blocks("json")[0])}
    assert all(to in flow for node in flow.values() for wires in node.get("wires", ()) for to in wires)
    # node-red takes a node without a place for a setting
    assert all(("x" in node) == ("z" in node) for node in flow.values())


def test_the_page_leads_to_nothing_that_is_not_there() -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE.read_text(encoding="utf-8")):
        page = PAGE.parent / target if target else PAGE
        headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert not heading or heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}, heading
