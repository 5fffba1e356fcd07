"""Fixtures for every test, and checks of leftovers: see tests/plugins."""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

from stream.ops.kernels import warm_up

pytest_plugins = (
    "tests.plugins.programs",
    "tests.plugins.services",
    "tests.plugins.leftovers",
    "tests.plugins.measured",
    "tests.plugins.changed",
    "tests.plugins.side_by_side",
)

# GNU readline, which pytest loads, puts the terminal's size into the environment of the processes
# that share the tests, and rich would keep to it whatever a test says.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
# Nor does a test say the same on a terminal that can nothing ("dumb", as where there is none).
os.environ["TERM"] = "xterm"
# A shell lets what it begins in the background ignore Ctrl-C, and all that a test starts would
# inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Every Java that a test starts is a Kafka of a minute or two. The second compiler would take a
# third of its CPU for code that does not run long enough to pay for it.
os.environ["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# Kafka and Redis sync thousands of small files: on a disk that is half of the CPU that Kafka takes
# to create a topic. A test that needs a disk of its own has one.
_MEMORY, _ROOM_BYTES = Path("/dev/shm"), 4 << 30
if (
    "TMPDIR" not in os.environ
    and _MEMORY.is_dir()
    and (shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES)
):
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None

# A deadline for each example, or for the making of examples, would be a timed test, and fail on a
# busy machine alone. `make campaign` tries ten times as many examples.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ringfence", _UNTIMED, max_examples=50)
settings.register_profile("campaign", _UNTIMED, max_examples=500)
settings.load_profile("ringfence")

# Compiled kernels, as in production; `kernels.reference_only()` is the other way. They are kept
# where `make setup` keeps them, so that a run of tests compiles only what was changed.
KERNELS_DIR = Path(__file__).parents[1] / "state" / "kernels"
_WITHOUT_KERNELS = warm_up(KERNELS_DIR).why_not


def pytest_report_header() -> str:
    """Say which of the two ways the tests take."""
    return f"kernels: {_WITHOUT_KERNELS or 'compiled'}"


def pytest_collection_finish() -> None:
    """Let no later look for garbage walk over ten thousand tests: each simulation ends with one."""
    gc.collect()
    gc.freeze()
