"""All fuzz targets, one after another and each in a process of its own.

    python -m tests.fuzz --seconds 60              each for so long
    python -m tests.fuzz --inputs 1e6 --keep       so many inputs of each kind; keep the figures

The options of a target are in tests/fuzz/harness.py. The first failure ends it, with its exit code.
"""

import subprocess
import sys

TARGETS = (
    *("scan", "switch_records", "whole_way", "feed_files", "sip_messages", "registry_frames"),
    *("passports", "push_bodies", "filters", "http_requests", "tuf_metadata"),
)


def main() -> int:
    """Run all; `--keep` keeps the figures of each as a part of `hostile`."""
    keep = "--keep" in sys.argv
    given = [one for one in sys.argv[1:] if one != "--keep"]
    for target in TARGETS:
        part = ["--part", target.replace("_", " ")] if keep else []
        command = [sys.executable, "-m", f"tests.fuzz.{target}", *given, *part]
        if code := subprocess.run(command, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
