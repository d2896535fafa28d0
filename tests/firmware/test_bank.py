"""The registers of a node against struct's idea of them."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.firmware.alone import load

[bank_module] = load("bank")
SIZE = 6
WORDS = st.lists(st.integers(0, 0xFFFF), min_size=SIZE, max_size=SIZE)


def holding(words: list[int]) -> "bank_module.Bank":
    bank = bank_module.Bank(SIZE)
    bank.view[:] = struct.pack(f">{SIZE}H", *words)
    return bank


def words_of(bank: "bank_module.Bank") -> list[int]:
    return list(struct.unpack(f">{SIZE}H", bytes(bank.bytes)))


def test_a_bank_has_its_registers_and_no_byte_more() -> None:
    bank = bank_module.Bank(SIZE)
    assert (bank.size, len(bank.bytes), len(bank.view)) == (SIZE, 2 * SIZE, 2 * SIZE)


@given(WORDS, st.integers(0, SIZE - 2))
def test_values_of_one_and_two_registers_are_read_with_their_high_byte_first(words: list[int], at: int) -> None:
    bank = holding(words)
    data = bytes(bank.bytes[2 * at : 2 * at + 4])
    assert bank.u16(at) == int.from_bytes(data[:2], "big")
    assert bank.i16(at) == int.from_bytes(data[:2], "big", signed=True)
    assert bank.u32(at) == int.from_bytes(data, "big")


@given(WORDS, st.integers(0, SIZE - 2), st.integers(-(2**40), 2**40))
def test_a_written_value_lands_in_its_registers_and_in_no_other(words: list[int], at: int, value: int) -> None:
    bank = holding(words)
    bank.put16(at, value)
    assert words_of(bank) == words[:at] + [value & 0xFFFF] + words[at + 1 :]
    bank = holding(words)
    bank.put32(at, value)
    assert words_of(bank) == words[:at] + [value >> 16 & 0xFFFF, value & 0xFFFF] + words[at + 2 :]


@given(WORDS, st.integers(0, SIZE - 1), st.integers(0, 15), st.booleans())
def test_a_bit_is_read_and_written_alone(words: list[int], at: int, bit: int, level: bool) -> None:
    bank = holding(words)
    assert bank.bit(at, bit) == words[at] >> bit & 1
    bank.put_bit(at, bit, level)
    assert words_of(bank) == words[:at] + [words[at] & ~(1 << bit) | level << bit] + words[at + 1 :]


@given(WORDS, st.integers(0, SIZE - 1), st.integers(0, 15))
def test_the_place_of_a_bit_is_where_it_is_read(words: list[int], at: int, bit: int) -> None:
    bank = holding(words)
    index, mask = bank_module.place(at, bit)
    assert bool(bank.bytes[index] & mask) == bool(words[at] >> bit & 1)
    assert 0 < mask < 256
