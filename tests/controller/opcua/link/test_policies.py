"""Each policy's bytes, with asyncua's implementation as the other end of the line."""

import struct
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.connection import MessageChunk
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.encoding import octets, string
from controller.opcua.guard import Refused
from controller.opcua.link.policies import (
    AES128,
    AES256,
    BASIC256SHA256,
    ENCRYPTIONS,
    HEAD,
    Plain,
    Policy,
    derived,
    half,
    open_opening,
    seal_opening,
)
from controller.opcua.link.terms import Own

PEERS: dict[Policy, Any] = {
    BASIC256SHA256: security_policies.SecurityPolicyBasic256Sha256,
    AES128: security_policies.SecurityPolicyAes128Sha256RsaOaep,
    AES256: security_policies.SecurityPolicyAes256Sha256RsaPss,
}
SIGN, SEALED = ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt
SECRET, SEED = bytes(range(32)), bytes(range(100, 132))
TOLD = r"^this could not be deciphered$"
policies = pytest.mark.parametrize("policy", PEERS, ids=lambda policy: policy.name)
modes = pytest.mark.parametrize("mode", [SIGN, SEALED], ids=lambda mode: mode.name)


@cache
def one(bits: int) -> Own:
    """A key of a size with a certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{bits} bits")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    return Own(key, made.not_valid_before(start).not_valid_after(start + timedelta(days=9999)).sign(key, hashes.SHA256()))


def public(own: Own) -> Any:
    return own.key.public_key()


def peer(policy: Policy, mode: Any, mine: Own, theirs: Own) -> Any:
    """asyncua's end, with `mine` as its identity."""
    return PEERS[policy](theirs.certificate, mine.certificate, mine.key, mode)


@policies
def test_names_are_the_standards(policy: Policy) -> None:
    known = PEERS[policy]
    assert (policy.uri, policy.encrypted_with, policy.signed_with) == (
        known.URI,
        known.AsymmetricEncryptionURI,
        known.AsymmetricSignatureURI,
    )
    assert ENCRYPTIONS[policy.encrypted_with] is policy.oaep


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64), st.integers(1, 100))
def test_keys_are_derived_as_asyncua_derives_them(secret: bytes, seed: bytes, size: int) -> None:
    assert derived(secret, seed, size) == uacrypto.p_sha256(secret, seed, (size,))[0]


def _theirs(policy: Policy, mode: Any) -> Any:
    found = peer(policy, mode, one(2048), one(2048))
    found.make_local_symmetric_key(SECRET, SEED)
    found.make_remote_symmetric_key(SECRET, SEED, 3_600_000)
    return found


@policies
@modes
@settings(max_examples=15, deadline=None)
@given(bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=5), channel=st.integers(1, 2**32 - 1))
def test_asyncua_reads_our_messages_and_we_its(policy: Policy, mode: Any, bodies: list[bytes], channel: int) -> None:
    theirs, ours = _theirs(policy, mode), half(policy, mode == SEALED, SECRET, SEED)
    back = half(policy, mode == SEALED, SECRET, SEED)
    for number, body in enumerate(bodies, 1):
        sealed = ours.seal(b"MSGF", channel, 7, number, number + 9, body)
        buffer = ua.utils.Buffer(sealed)
        read = MessageChunk.from_header_and_body(theirs, ua.ua_binary.header_from_binary(buffer), buffer)
        assert (read.Body, read.SequenceHeader.SequenceNumber, read.SequenceHeader.RequestId) == (body, number, number + 9)
        chunk = MessageChunk(theirs.symmetric_cryptography, body)
        chunk.MessageHeader.ChannelId = channel
        chunk.SecurityHeader = ua.SymmetricAlgorithmHeader()
        chunk.SecurityHeader.TokenId = 7
        chunk.SequenceHeader.SequenceNumber, chunk.SequenceHeader.RequestId = number, number + 9
        for one_of_both in (sealed, chunk.to_binary()):  # asyncua pads to the key's size, we to the cipher's block
            assert back.open(one_of_both) == struct.pack("<II", number, number + 9) + body


@policies
@modes
@settings(max_examples=15, deadline=None)
@given(body=st.binary(max_size=60), data=st.data())
def test_one_changed_bit_is_found_and_told_as_ever(policy: Policy, mode: Any, body: bytes, data: st.DataObject) -> None:
    ours, theirs = half(policy, mode == SEALED, SECRET, SEED), half(policy, mode == SEALED, SECRET, SEED)
    sealed = bytearray(ours.seal(b"MSGF", 1, 1, 1, 1, body))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused, match=TOLD):
        theirs.open(bytes(sealed))
    for size in (0, HEAD.size, len(sealed) - 1):
        with pytest.raises(Refused, match=TOLD):
            theirs.open(bytes(sealed[:size]))


@modes
def test_a_message_after_a_spoilt_one_is_still_read(mode: Any) -> None:
    ours, theirs = half(BASIC256SHA256, mode == SEALED, SECRET, SEED), half(BASIC256SHA256, mode == SEALED, SECRET, SEED)
    with pytest.raises(Refused):
        theirs.open(ours.seal(b"MSGF", 1, 1, 1, 1, b"spoilt")[:-16] + bytes(16))
    assert theirs.open(ours.seal(b"MSGF", 1, 1, 2, 2, b"whole"))[8:] == b"whole"


@policies
@modes
@pytest.mark.parametrize("chunk", [8_192, 8_193, 65_535])
def test_the_longest_body_fills_a_chunk_and_no_more(policy: Policy, mode: Any, chunk: int) -> None:
    for ours in (half(policy, mode == SEALED, SECRET, SEED), Plain()):
        room = ours.room(chunk)
        assert len(ours.seal(b"MSGF", 1, 1, 1, 1, bytes(room))) <= chunk
        assert len(ours.seal(b"MSGF", 1, 1, 1, 1, bytes(room + 1))) > chunk


# Keys above 2048 bits take two bytes to tell how long the padding is (Part 6 §6.7.2.5).
@policies
@pytest.mark.parametrize(("mine", "theirs"), [(2048, 2048), (2048, 3072), (3072, 2048), (3072, 3072)])
def test_openings_are_read_by_asyncua_and_its_by_us(policy: Policy, mine: int, theirs: int) -> None:
    me, other = one(mine), one(theirs)
    security = string(policy.uri) + octets(me.der) + octets(other.thumbprint)
    for body in (b"", b"open, please", bytes(range(256)), bytes(600)):
        sealed = seal_opening(policy, me.key, public(other), 5, security, struct.pack("<II", 3, 4) + body)
        buffer = ua.utils.Buffer(sealed)
        read = MessageChunk.from_header_and_body(peer(policy, SEALED, other, me), ua.ua_binary.header_from_binary(buffer), buffer)
        assert (read.Body, read.SequenceHeader.SequenceNumber, read.SequenceHeader.RequestId) == (body, 3, 4)
        chunk = MessageChunk(peer(policy, SEALED, me, other).asymmetric_cryptography, body, ua.MessageType.SecureOpen)
        chunk.MessageHeader.ChannelId = 5
        chunk.SecurityHeader = read.SecurityHeader
        chunk.SequenceHeader.SequenceNumber, chunk.SequenceHeader.RequestId = 3, 4
        at = 12 + len(security)
        assert open_opening(policy, other.key, public(me), chunk.to_binary(), at) == struct.pack("<II", 3, 4) + body


@policies
def test_an_opening_that_is_not_right_is_told_as_ever(policy: Policy) -> None:
    me, other, at = one(2048), one(3072), 12
    right = seal_opening(policy, me.key, public(me), 5, b"", bytes(8) + b"open")
    for wrong in (
        right[:at],
        right[:-1],
        right[:-256],
        right[:4] + b"\x01" + right[5:],
        right[:-1] + bytes([right[-1] ^ 1]),
        right[:at] + bytes(len(right) - at),
        seal_opening(policy, me.key, public(me), 5, b"", b""),
        seal_opening(policy, other.key, public(me), 5, b"", bytes(8)),
    ):
        with pytest.raises(Refused, match=TOLD):
            open_opening(policy, me.key, public(me), wrong, at)


@policies
@given(plain=st.binary(max_size=500))
@settings(max_examples=3, deadline=None)
def test_what_is_encrypted_for_a_key_it_deciphers(policy: Policy, plain: bytes) -> None:
    assert policy.decrypt(one(2048).key, policy.encrypt(public(one(2048)), plain)) == plain
