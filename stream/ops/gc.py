"""Python's cyclic garbage collector, as a process that decides calls needs it."""

import gc
from typing import Final

_YOUNG: Final = 50_000


def settle() -> None:
    """What is loaded by now stays: the collector need not look at it again and again.

    A batch makes thousands of records that die together; at Python's threshold of 700 it would look
    at them while they live (measured: 0.4 of 2.4 us a record in batches of 8,000), and every so
    often at half a million objects of libraries, for 0.3 s in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 100)
