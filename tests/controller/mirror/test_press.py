"""A press that speaks OPC UA, mirrored: its values with their quality and time, its end and its return, writes and methods."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controller.__main__ import main
from controller.mirror import following
from controller.mirror.channel import declared, fingerprint
from controller.opcua.certificate import own
from tests.controller.mirror.rig import Mirrored, Press, factory_of, mirroring, written
from twin.clock import MS, Ns, utc_ns

Test = Callable[[Mirrored], Awaitable[None]]


def mirrored(press: Press, folder: Path, test: Test, change: Callable[[str], str] = lambda text: text) -> None:
    """Run a test with a mirror of a press."""

    async def main() -> None:
        async with mirroring(factory_of(press, folder, change), folder / "state") as found:
            await test(found)

    (folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(main())


def test_values_come_in_si_with_the_time_of_their_source(press: Press, tmp_path: Path) -> None:
    at = utc_ns() // 1000 * 1000 - 60_000_000_000

    async def test(found: Mirrored) -> None:
        await found.until(lambda: not found.link)
        for path, value in (
            ("speed", pytest.approx(0.1255)),
            ("temperature", 40.0),
            ("closed", True),
            ("mode", 1),
            ("program", "cap.nc"),
            ("serial", "P-4711"),
        ):
            await found.value(f"press-1/status/{path}", value)
        press.tell(f"at Press.Speed {at} 250")
        assert (await found.value("press-1/status/speed", 0.25)).utc_ns == at
        press.tell("set Press.Speed 125.5")

    mirrored(press, tmp_path, test)


def test_a_status_becomes_a_quality_with_its_name_and_a_node_that_is_missing_is_bad_alone(press: Press, tmp_path: Path) -> None:
    async def test(found: Mirrored) -> None:
        await found.value("press-1/status/pressure", 101_325.0)
        press.tell("bad Press.Pressure BadSensorFailure")
        await found.until(lambda: found.row("press-1/status/pressure").quality == 2)
        assert found.row("press-1/status/pressure").cause == "BadSensorFailure"
        press.tell("bad Press.Pressure UncertainLastUsableValue")
        await found.until(lambda: found.row("press-1/status/pressure").quality == 1)
        assert found.row("press-1/status/pressure").cause == "UncertainLastUsableValue"
        press.tell("set Press.Pressure 101325")
        await found.value("press-1/status/pressure", 101_325.0)
        missing = found.row("press-1/status/torque")
        assert (missing.quality, missing.cause) == (2, "the server has no namespace urn:elsewhere")
        press.tell("set Press.Mode 7")
        await found.until(lambda: found.row("press-1/status/mode").quality == 2)
        assert found.row("press-1/status/mode").cause == "7 is none of 0 OFF, 1 SETUP, 2 AUTOMATIC"
        press.tell("set Press.Speed 600")
        await found.until(lambda: found.row("press-1/status/speed").cause == "outside its range")
        press.tell("set Press.Speed 125.5")
        press.tell("set Press.Mode 1")

    mirrored(press, tmp_path, test)


def test_a_write_is_read_back_and_what_does_not_fit_is_never_sent(press: Press, tmp_path: Path) -> None:
    async def test(found: Mirrored) -> None:
        await found.until(lambda: not found.link)

        async def write(signal: str, value: object) -> tuple[str, str]:
            came = await found.device.want("press-1", "write", {"signal": signal, "value": value})
            return came.state, came.text

        assert await write("speed", 0.3) == ("confirmed", "")
        assert press.tell("get Press.Speed") == pytest.approx(300)
        assert await write("mode", 2) == ("confirmed", "")
        assert await write("program", "lid.nc") == ("confirmed", "")
        assert await write("speed", 0.45) == ("refused", "450 is outside 0 to 400, the server's EURange")
        assert await write("temperature", 20.0) == ("refused", "press-1 has no Signal 'temperature' that can be written")
        assert press.tell("get Press.Speed") == pytest.approx(300)
        for line in ("set Press.Speed 125.5", "set Press.Mode 1", 'set Press.Program "cap.nc"'):
            press.tell(line)

    mirrored(press, tmp_path, test)


def test_a_method_is_called_once_with_the_servers_own_types(press: Press, tmp_path: Path) -> None:
    async def test(found: Mirrored) -> None:
        await found.until(lambda: not found.link)

        async def stroke(count: int, depth: float) -> tuple[str, str]:
            came = await found.device.want("press-1", "call", {"method": "stroke", "arguments": {"count": count, "depth": depth}})
            return came.state, came.text

        before = press.tell("calls")
        assert await stroke(3, 0.5) == ("confirmed", "1.5, pressed")
        assert await stroke(101, 0.5) == ("refused", "BadOutOfRange")
        assert await stroke(70_000, 0.5) == ("refused", "70000 does not fit UInt16, 0 to 65535")
        assert press.tell("calls") == [*before, [3, 0.5], [101, 0.5]]

    mirrored(press, tmp_path, test)


def test_another_certificate_than_the_declared_one_is_refused_with_both_fingerprints(press: Press, tmp_path: Path) -> None:
    other = own(tmp_path / "other", "press", "urn:press:server")

    async def test(found: Mirrored) -> None:
        await found.until(lambda: "not trusted" in found.link)
        assert found.link == (
            f"it is not trusted: its certificate is {fingerprint(declared(press.folder / 'press.der'))}, "
            f"other.der has {fingerprint(other.certificate)}"
        )
        assert found.row("press-1/status/speed").quality == 1

    tmp_path.joinpath("f").mkdir()
    shutil.copyfile(other.certificate_file, tmp_path / "f" / "other.der")
    mirrored(press, tmp_path / "f", test, lambda text: text.replace("press.der", "other.der"))


def test_a_wrong_password_and_one_that_others_can_read_are_told(press: Press, tmp_path: Path) -> None:
    async def main() -> None:
        factory = factory_of(press, tmp_path)
        (tmp_path / "press.password").write_text("press-2")
        async with mirroring(factory, tmp_path / "state") as found:
            await found.until(lambda: found.link in ("BadUserAccessDenied", "BadIdentityTokenRejected"))
            (tmp_path / "press.password").chmod(0o640)
            await found.until(lambda: "can be read by others (its mode is 640)" in found.link)
            (tmp_path / "press.password").write_text("press-1")
            (tmp_path / "press.password").chmod(0o600)
            await found.until(lambda: not found.link)

    (tmp_path / "state").mkdir()
    asyncio.run(main())


def test_a_node_that_comes_later_is_followed_too_even_where_it_is_the_first(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "AGAIN", Ns(100 * MS))

    async def test(found: Mirrored) -> None:
        await found.until(lambda: not found.link and found.row("press-1/status/torque").cause.endswith("urn:late"))
        press.tell("late urn:late Torque 7.5")
        await found.value("press-1/status/torque", 7.5)

    def alone(text: str) -> str:
        torque = '[[signals]]\nname = "torque"\nnode = "nsu=urn:late;s=Torque"\n'
        (tmp_path / "press.toml").write_text(f'name = "press"\n{torque}')
        return text

    mirrored(press, tmp_path, test, alone)


def test_what_nobody_has_foreseen_is_told_as_its_servers_cause_and_ends_nothing(press: Press, tmp_path: Path) -> None:
    async def test(found: Mirrored) -> None:
        await found.until(lambda: found.link not in ("", "not reached yet"))
        assert found.link.startswith("it is not trusted: its certificate is")
        (tmp_path / "press.der").write_bytes((press.folder / "press.der").read_bytes())
        await found.until(lambda: not found.link)
        assert len(found.said) == 2

    def strange(text: str) -> str:
        der = (tmp_path / "press.der").read_bytes()
        rsa = bytes.fromhex("2a864886f70d010101")
        assert der.count(rsa) == 1
        (tmp_path / "press.der").write_bytes(der.replace(rsa, rsa[:-1] + b"\x63"))  # a key of a kind that nobody knows
        return text

    mirrored(press, tmp_path, test, strange)


def test_a_write_whose_answer_is_lost_is_settled_by_reading_and_never_sent_again(press: Press, tmp_path: Path) -> None:
    async def test(found: Mirrored) -> None:
        await found.until(lambda: not found.link)
        calls, writes = press.tell("calls"), press.tell("writes")
        press.tell("deaf")
        stroke = {"method": "stroke", "arguments": {"count": 1, "depth": 1.0}}
        writing = asyncio.create_task(found.device.want("press-1", "write", {"signal": "speed", "value": 0.3}))
        calling = asyncio.create_task(found.device.want("press-1", "call", stroke))
        await found.until(lambda: bool(found.link))
        press.tell("hears")
        came = await writing
        assert came.state == "confirmed" and press.tell("get Press.Speed") == pytest.approx(300)
        assert (await calling).state == "unknown" and press.tell("calls") == [*calls, [1, 1.0]]
        assert press.tell("writes") == writes + 1
        press.tell("set Press.Speed 125.5")

    mirrored(press, tmp_path, test)


def test_the_command_line_fetches_a_certificate_shows_it_and_asks_before_it_replaces_one(
    press: Press, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(press, tmp_path)
    kept, wanted = tmp_path / "press.der", fingerprint(declared(press.folder / "press.der"))

    def trust(*more: str) -> tuple[int, str]:
        code = main(["mirror", "trust", "press", "--factory", str(file), *more])
        told = capsys.readouterr()
        return code, told.out + told.err

    assert trust()[0] == 0  # it is that one already
    kept.unlink()
    code, told = trust()
    assert code == 1 and wanted in told and "urn:press:server" in told and not kept.exists()
    assert trust("--yes")[0] == 0 and fingerprint(declared(kept)) == wanted
    shutil.copyfile(own(tmp_path / "other", "other", "urn:other").certificate_file, kept)
    code, told = trust()
    assert code == 1 and f"{kept} has another one: {fingerprint(declared(kept))}" in told and fingerprint(declared(kept)) != wanted
    assert trust("--yes")[0] == 0 and fingerprint(declared(kept)) == wanted
    assert main(["mirror", "trust", "nobody", "--factory", str(file)]) == 1
    assert capsys.readouterr().err == "lockstep: nobody is no node of kind opcua; there are: press\n"
    assert main(["mirror", "certificate", "--factory", str(file), "--state", str(tmp_path / "s")]) == 0
    assert "urn:lockstep:mirror:press-shop" in capsys.readouterr().out
