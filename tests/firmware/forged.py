"""Manifests that no node may believe: bit flips, cuts, old ones, other boards, and signatures that only a careless check takes."""

import hashlib
import random
from collections.abc import Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from controller.nodes import sign

SIZE = 256
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
FILES = {"node/__init__.py": b"x = 1\n", "node/app.py": b"y = 2\n"}
FLOOR = 7


def text(release: str = "1.0", secure: int = FLOOR, board: str = "any", *more: str) -> bytes:
    """A manifest's text with further lines."""
    return sign.manifest(FILES, release, secure, board) + "".join(line + "\n" for line in more).encode()


def raw(key: rsa.RSAPrivateKey, encoded: bytes) -> bytes:
    """What the private key makes of any encoding: the attacks below are stronger than an attacker, who has no key."""
    numbers = key.private_numbers()
    made = pow(int.from_bytes(encoded, "big") % numbers.public_numbers.n, numbers.d, numbers.public_numbers.n)
    return made.to_bytes(SIZE, "big")


def encodings(message: bytes) -> Iterator[bytes]:
    """Encodings of the right hash that are not the one of PKCS #1 v1.5."""
    digest = hashlib.sha256(message).digest()
    whole = b"\0\1" + b"\xff" * 202 + b"\0" + SHA256_PREFIX + digest
    for pad in (8, 16, 100, 201):  # what is left over lies behind the hash: Bleichenbacher, 2006
        yield (b"\0\1" + b"\xff" * pad + b"\0" + SHA256_PREFIX + digest).ljust(SIZE, b"\0")
        yield (b"\0\1" + b"\xff" * pad + b"\0" + SHA256_PREFIX + digest).ljust(SIZE, b"\xa5")
    without_null = bytes.fromhex("302f300b0609608648016503040201") + bytes.fromhex("0420")
    yield b"\0\1" + b"\xff" * (SIZE - 3 - len(without_null) - 32) + b"\0" + without_null + digest
    yield b"\0\2" + whole[2:]
    yield b"\0\0" + whole[2:]
    yield b"\0\1" + b"\xff" * 100 + b"\xfe" + b"\xff" * 101 + b"\0" + SHA256_PREFIX + digest
    yield b"\0\1" + b"\xff" * 221 + b"\0" + digest  # no name of the hash
    sha1 = bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(message).digest()
    yield b"\0\1" + b"\xff" * (SIZE - 3 - len(sha1)) + b"\0" + sha1


def lies() -> Iterator[bytes]:
    """Texts that somebody with the key might sign by mistake."""
    line = "file 1 " + "0" * 64 + " "
    yield text("1.0", FLOOR - 1)
    yield text("1.0", 0)
    yield text("1.0", FLOOR, "xtensawin")
    for path in (
        "../boot.py",
        "/boot.py",
        "node/../../x.py",
        "node//x.py",
        "./x.py",
        ".x",
        "a/b/c/d.py",
        "manifest",
        "manifest.new",
    ):
        yield text("1.0", FLOOR, "any", line + path)
    for path in ("x" * 49, "no de.py", "n\\x.py", "x:y", "node/", "node/app.py", ""):
        yield text("1.0", FLOOR, "any", line + path)
    for size in ("-1", "01", "1e3", "0x10", "999999999", "", "1 2"):
        yield text("1.0", FLOOR, "any", f"file {size} {'0' * 64} node/z.py")
    for digest in ("0" * 63, "0" * 65, "A" * 64, "g" * 64):
        yield text("1.0", FLOOR, "any", f"file 1 {digest} node/z.py")
    whole = text()
    yield whole.replace(b"loader 1", b"loader 2")
    yield whole.replace(b"lockstep 1", b"lockstep 2")
    yield whole.replace(b"secure 7", b"secure 07")
    yield whole.replace(b"secure 7", b"secure +7")
    yield whole.replace(b"secure 7\n", b"")
    yield whole.replace(b"\n", b"\r\n")
    yield whole[:-1]
    yield whole + b"\n"
    yield whole + b"\xff\n"
    yield b"\n".join(whole.split(b"\n")[:5]) + b"\n"  # no files
    yield text("1.0", FLOOR, "any", *(f"{line}node/m{number}.py" for number in range(63)))
    yield b""


def forged(key: rsa.RSAPrivateKey, other: rsa.RSAPrivateKey, count: int, seed: int) -> Iterator[bytes]:
    """So many manifests that are not to be believed, as a slot would hold them; the same for a seed."""
    draw = random.Random(seed)
    good = sign.packed(text(), key)
    modulus = key.public_key().public_numbers().n
    fixed = [raw(key, encoded) + text() for encoded in encodings(text())]
    fixed += [sign.packed(lie, key) for lie in lies()]
    fixed += [
        sign.packed(text(), other),
        key.sign(text(), padding.PKCS1v15(), hashes.SHA512()) + text(),
        key.sign(text(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()) + text(),
        bytes(SIZE) + text(),
        b"\xff" * SIZE + text(),
        (1).to_bytes(SIZE, "big") + text(),
        modulus.to_bytes(SIZE, "big") + text(),
        (modulus - 1).to_bytes(SIZE, "big") + text(),
        text(),
        good[SIZE:] + good[:SIZE],
    ]
    if (plus := int.from_bytes(good[:SIZE], "big") + modulus) < 1 << 8 * SIZE:
        fixed.append(plus.to_bytes(SIZE, "big") + text())  # the same number, modulo n
    yield from fixed
    for _ in range(count - len(fixed)):
        made = bytearray(good)
        what = draw.randrange(4)
        if what == 0:
            at = draw.randrange(8 * len(made))
            made[at // 8] ^= 1 << at % 8
        elif what == 1:
            del made[draw.randrange(len(made)) :]
        elif what == 2:
            first = draw.randrange(len(made))
            made[first : first + draw.randrange(1, 9)] = draw.randbytes(draw.randrange(9))
        else:
            made += draw.randbytes(draw.randrange(1, 40))
        yield bytes(made) if bytes(made) != good else b""
