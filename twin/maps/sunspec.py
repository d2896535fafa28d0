"""Places in a SunSpec chain: relative to a model, which is found when the device is."""

import re

_WORD = re.compile(r"model:([0-9]{1,5}(?:/[0-9]{1,5})*)")


def models(together: str) -> tuple[int, ...]:
    """The ids of the models that a Place's `together` names, the first that the device has is meant; empty for none.

    `model:103` is one model; `model:101/103` are models of one layout.
    """
    found = _WORD.fullmatch(together)
    ids = tuple(int(one) for one in found[1].split("/")) if found else ()
    return ids if all(1 <= one <= 65_534 for one in ids) else ()
