"""A counting client: what a server delivers, how late, and how fast it answers.

python -m tests.bench.opcua.client changes|reads|storm: {"url": …} comes as JSON from the input, what it found goes to the output.
`pki` in it is a folder with server.der, client.der and client.pem; without it the policy is None.
"""

import contextlib
import json
import os
import random
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import encrypt_rsa_oaep, sign_sha256
from asyncua.ua.ua_binary import struct_to_binary
from cryptography import x509

from tests.bench.opcua.counted import EPOCH, RESPONSE_PUBLISH, RESPONSE_READ, Malformed, Published, header, published, read
from tests.bench.opcua.wire import Refused, Seal, Wire, decoded

BATCH = 1000
OUTSTANDING = 10
BINS = 100_000
BIN_S = 1e-4
TICKS = 10_000_000


class Client:
    """A session over a channel of its own."""

    def __init__(self, url: str, pki: Path | None, user: str = "", password: str = "", name: str = "client") -> None:
        self.seal = Seal.of(pki, name) if pki else None
        self.wire = Wire(url, self.seal)
        self.token = ua.NodeId()
        self._pending: list[tuple[int, bytes]] = []
        self._awaited: set[int] = set()
        self._activate(*self._create(), user, password)

    def close(self) -> None:
        """End the session, and hang up."""
        with contextlib.suppress(OSError):
            self.call(ua.CloseSessionRequest())
        self.wire.close()

    # ---- the session -------------------------------------------------------------------------------------------------

    def _create(self) -> tuple[Any, bytes]:
        request = ua.CreateSessionRequest()
        asked = request.Parameters
        asked.ClientDescription.ApplicationUri = self.seal.uri if self.seal else "urn:lockstep:bench"
        asked.ClientDescription.ApplicationType = ua.ApplicationType.Client
        asked.EndpointUrl, asked.SessionName = self.wire.url, "bench"
        asked.ClientNonce, asked.ClientCertificate = os.urandom(32), self.seal.client if self.seal else None
        asked.RequestedSessionTimeout, asked.MaxResponseMessageSize = 600_000.0, 0
        created = self.call(request).Parameters
        self.token = created.AuthenticationToken
        mode = ua.MessageSecurityMode.SignAndEncrypt if self.seal else ua.MessageSecurityMode.None_
        offered = [one for one in created.ServerEndpoints if one.SecurityMode == mode]
        endpoint = next((one for one in offered if one.SecurityPolicyUri == SecurityPolicyBasic256Sha256.URI), offered[0])
        return endpoint, created.ServerNonce

    def _activate(self, endpoint: Any, nonce: bytes, user: str, password: str) -> None:
        request = ua.ActivateSessionRequest()
        kind = ua.UserTokenType.UserName if user else ua.UserTokenType.Anonymous
        policy = next(one for one in endpoint.UserIdentityTokens if one.TokenType == kind)
        token: Any = ua.UserNameIdentityToken() if user else ua.AnonymousIdentityToken()
        token.PolicyId = policy.PolicyId
        if user and self.seal:
            secret = password.encode() + nonce
            key: Any = x509.load_der_x509_certificate(self.seal.server).public_key()
            token.UserName, token.EncryptionAlgorithm = user, SecurityPolicyBasic256Sha256.AsymmetricEncryptionURI
            token.Password = encrypt_rsa_oaep(key, struct.pack("<I", len(secret)) + secret)
        request.Parameters.UserIdentityToken = token
        if self.seal:
            request.Parameters.ClientSignature.Algorithm = SecurityPolicyBasic256Sha256.AsymmetricSignatureURI
            request.Parameters.ClientSignature.Signature = sign_sha256(self.seal.key, self.seal.server + nonce)
        self.call(request)

    def encoded(self, request: Any) -> bytes:
        """A request's bytes, with this session's token."""
        request.RequestHeader.AuthenticationToken = self.token
        request.RequestHeader.TimeoutHint = 60_000
        return struct_to_binary(request)

    def call(self, request: Any) -> Any:
        """The response to a request; what else comes meanwhile is kept."""
        return decoded(self.exchange(self.encoded(request)))

    def exchange(self, body: bytes) -> bytes:
        """The bytes of the response to a request's."""
        number = self.wire.send(body)
        while True:
            found, answer = self.wire.receive()
            if found == number:
                return answer
            self._pending.append((found, answer))

    # ---- subscriptions -----------------------------------------------------------------------------------------------

    def subscribe(self, nodes: Sequence[str], publishing_ms: float, sampling_ms: float = 0.0, queue: int = 10) -> int:
        """A subscription with an item for each node; their handles are their indices. Publishes are outstanding from then on.

        Raises:
            Refused: an item cannot be had.
        """
        request = ua.CreateSubscriptionRequest()
        asked = request.Parameters
        asked.RequestedPublishingInterval, asked.RequestedLifetimeCount, asked.RequestedMaxKeepAliveCount = publishing_ms, 3000, 50
        asked.MaxNotificationsPerPublish, asked.PublishingEnabled = 0, True
        made = self.call(request).Parameters
        for start in range(0, len(nodes), BATCH):
            self._items(made.SubscriptionId, start, nodes[start : start + BATCH], sampling_ms, queue)
        plain = ua.PublishRequest()
        plain.Parameters.SubscriptionAcknowledgements = []
        self._publish = self.encoded(plain)[:-4]
        for _ in range(OUTSTANDING):
            self.acknowledge(None)
        return int(made.SubscriptionId)

    def _items(self, subscription: int, first: int, nodes: Sequence[str], sampling_ms: float, queue: int) -> None:
        request = ua.CreateMonitoredItemsRequest()
        request.Parameters.SubscriptionId = subscription
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        for index, node in enumerate(nodes, first):
            item = ua.MonitoredItemCreateRequest()
            item.ItemToMonitor.NodeId = _node_id(node)
            item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
            item.MonitoringMode = ua.MonitoringMode.Reporting
            asked = item.RequestedParameters
            asked.ClientHandle, asked.SamplingInterval, asked.QueueSize, asked.DiscardOldest = index, sampling_ms, queue, True
            request.Parameters.ItemsToCreate.append(item)
        for node, result in zip(nodes, self.call(request).Results, strict=True):
            if not result.StatusCode.is_good():
                raise Refused(f"{node}: {result.StatusCode.name}")

    def acknowledge(self, told: Published | None) -> None:
        """Send a Publish, which acknowledges one notification or none."""
        tail = struct.pack("<iII", 1, told.subscription, told.sequence) if told and told.sequence else struct.pack("<i", 0)
        self.wire.send(self._publish + tail)

    def notifications(self) -> Iterator[tuple[Published, int]]:
        """Publish responses and when each was there [ns UTC], until nothing comes any more; each is answered with a Publish."""
        while True:
            try:
                _, body = self._pending.pop(0) if self._pending else self.wire.receive()
            except TimeoutError:
                return
            now = time.time_ns()
            kind, result, at = header(body)
            if kind != RESPONSE_PUBLISH or result:
                raise Refused(f"a response of type {kind} with status 0x{result:08X} where a Publish's is due")
            told = published(body, at)
            self.acknowledge(told)
            yield told, now


class Tally:
    """What was delivered: by item the last value, which counts generations up; and how late.

    Attributes:
        counts: notifications by generation, when asked for.
        lost: generations that an item did not tell between two that it did.
    """

    def __init__(self, items: int, by_generation: bool = False) -> None:
        self.last = np.full(items, np.nan)
        self.seen = np.zeros(items, bool)
        self.total = self.messages = self.bad = self.lost = 0
        self.late = np.zeros(BINS, np.int64)
        self.counts: Counter[int] | None = Counter() if by_generation else None

    def add(self, told: Published, now_ns: int, counts: bool) -> None:
        """Take a response in; `counts`: it is within the time that is measured."""
        ticks = now_ns // 100 + EPOCH
        self.messages += counts and bool(told.changes)
        for part in told.changes:
            self.seen[part.handles] = True
            if counts:
                self.total += len(part.handles)
                self.bad += int(np.count_nonzero(part.status))
                self._gaps(part.handles, part.values)
                bins = np.clip((ticks - part.source) // int(BIN_S * TICKS), 0, BINS - 1)
                if bins[0] == bins[-1] and (bins == bins[0]).all():
                    self.late[bins[0]] += len(bins)
                else:
                    np.add.at(self.late, bins, 1)
            if self.counts is not None:
                self.counts.update(part.values[~np.isnan(part.values)].astype(int).tolist())
            self.last[part.handles] = part.values

    def _gaps(self, handles: Any, values: Any) -> None:
        order = np.argsort(handles, kind="stable")  # an item may be there several times, oldest first
        handles, values = handles[order], values[order]
        before = np.where(np.append(True, handles[1:] != handles[:-1]), self.last[handles], np.append(np.nan, values[:-1]))
        steps = values - before
        self.lost += int(np.nansum(np.maximum(steps - 1, 0)))

    def latency(self, share: float) -> float:
        """By when so large a share of all was there [s]; NaN where nothing was."""
        total = np.cumsum(self.late)
        return float("nan") if not total[-1] else float(np.searchsorted(total, share * total[-1]) + 1) * BIN_S


# ---- what can be asked -------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def changes(asked: dict[str, Any]) -> dict[str, Any]:
    """Notifications over `duration_s` after `warm_s`, once every item has told a value."""
    client = _client(asked)
    nodes = asked["nodes"]
    tally = Tally(len(nodes), asked.get("by_generation", False))
    start = time.perf_counter()
    client.subscribe(nodes, asked.get("publishing_ms", 100.0), asked.get("sampling_ms", 0.0))
    created = time.perf_counter() - start
    client.wire.socket.settimeout(asked["duration_s"] + 30)
    begin = end = 0
    marks: tuple[float, float, float] = (0.0, 0.0, 0.0)
    for told, now in client.notifications():
        counting = 0 < begin <= now
        tally.add(told, now, counting)
        if not begin and tally.seen.all():
            begin = now + round(asked.get("warm_s", 2.0) * 1e9)
        elif counting and not end:
            end = now + round(asked["duration_s"] * 1e9)
            marks = _marks(asked)
            tally.total = tally.messages = tally.bad = tally.lost = 0
            tally.late[:] = 0
        elif end and now >= end:
            break
    wall, theirs, ours = (after - before for after, before in zip(_marks(asked), marks, strict=True))
    client.close()
    if not end:
        raise Refused(f"of {len(nodes)} items {int(tally.seen.sum())} told a value")
    found = {
        "per_s": tally.total / wall, "server_cpu": theirs / wall, "client_cpu": ours / wall, "messages": tally.messages,
        "lost": tally.lost, "bad": tally.bad, "p50_s": tally.latency(0.5), "p99_s": tally.latency(0.99), "created_s": created,
    }  # fmt: skip
    return found if tally.counts is None else {**found, "counts": {str(k): v for k, v in tally.counts.items()}}


def _marks(asked: dict[str, Any]) -> tuple[float, float, float]:
    return time.perf_counter(), cpu_s(asked["pid"]) if asked.get("pid") else 0.0, time.process_time()


def reads(asked: dict[str, Any]) -> dict[str, Any]:
    """A Read of all `nodes` again and again for `duration_s`: the same request, or in turn so many that each are in another order.

    `orders` of one node ask for one of `nodes` each.
    """
    client = _client(asked)
    bodies, count = _reads(client, asked["nodes"], asked.get("orders", 1), asked.get("each", len(asked["nodes"])))
    spent, turn = list[float](), 0
    for body in bodies[:5]:
        _check(client.exchange(body), count)
    marks = _marks(asked)
    until = marks[0] + asked["duration_s"]
    while (start := time.perf_counter()) < until:
        answer = client.exchange(bodies[turn % len(bodies)])
        spent.append(time.perf_counter() - start)
        turn += 1
        _check(answer, count)
    wall, theirs, ours = (after - before for after, before in zip(_marks(asked), marks, strict=True))
    client.close()
    return {
        "values_per_s": len(spent) * count / wall, "p50_s": float(np.quantile(spent, 0.5)),
        "p99_s": float(np.quantile(spent, 0.99)), "server_cpu": theirs / wall, "client_cpu": ours / wall,
    }  # fmt: skip


def _reads(client: Client, nodes: Sequence[str], orders: int, each: int) -> tuple[list[bytes], int]:
    request, chance, ids = ua.ReadRequest(), random.Random(1), []
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    head = client.encoded(request)[:-4]
    for node in nodes:
        one = ua.ReadValueId()
        one.NodeId, one.AttributeId = _node_id(node), ua.AttributeIds.Value
        ids.append(struct_to_binary(one))
    chosen = [ids[:each]] if orders == 1 else [chance.sample(ids, each) for _ in range(orders)]
    return [b"".join((head, struct.pack("<i", each), *one)) for one in chosen], each


def _node_id(text: str) -> ua.NodeId:
    return ua.NodeId(text.partition(";s=")[2], int(text[3 : text.index(";")]))


def _check(answer: bytes, count: int) -> None:
    kind, result, at = header(answer)
    if kind != RESPONSE_READ or result:
        raise Refused(f"a response of type {kind} with status 0x{result:08X} to a Read")
    if len(found := read(answer, at).values) != count:
        raise Malformed(f"{len(found)} values of {count}")
    if np.isnan(found).any():
        raise Malformed("a value that was asked for is not there")


def storm(asked: dict[str, Any]) -> dict[str, Any]:
    """`clients` connect within a second and subscribe to all `nodes` each: when each had a value of each [s], and who had not."""
    began, served, failed = time.perf_counter(), list[float](), list[str]()

    def one(index: int) -> None:
        time.sleep(index / asked["clients"])
        try:
            client = _client(asked)
            seen = np.zeros(len(asked["nodes"]), bool)
            client.subscribe(asked["nodes"], asked.get("publishing_ms", 100.0))
            for told, _ in client.notifications():
                for part in told.changes:
                    seen[part.handles] = True
                if seen.all() and not failed:
                    served.append(time.perf_counter() - began)
                    break
            deadline.wait()
            client.wire.close()
        except (OSError, Malformed) as error:
            failed.append(f"{type(error).__name__}: {error}"[:300])

    deadline = threading.Event()
    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(asked["clients"])]
    for thread in threads:
        thread.start()
    until = began + asked.get("most_s", 120.0)
    while len(served) + len(failed) < asked["clients"] and time.perf_counter() < until:
        time.sleep(0.02)
    deadline.set()
    cpu = time.process_time()
    return {"served": len(served), "all_s": max(served, default=float("nan")), "client_cpu_s": cpu, "failed": failed[:3]}


def _client(asked: dict[str, Any]) -> Client:
    pki = Path(asked["pki"]) if asked.get("pki") else None
    return Client(asked["url"], pki, asked.get("user", ""), asked.get("password", ""))


def main() -> int:
    """Do what is asked, on the core that is asked for."""
    asked = json.load(sys.stdin)
    os.nice(asked.get("nice", 0))
    if asked.get("core") is not None:
        os.sched_setaffinity(0, {asked["core"]})
    print(json.dumps({"changes": changes, "reads": reads, "storm": storm}[sys.argv[1]](asked)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
