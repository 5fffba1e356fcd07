"""A real Prometheus over the lab's processes, and what it says of alerts and series."""

import asyncio
import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from stream.lab.embedded.guarded_server import free_ports
from tests.support.promql import RULE_FILES, RULES
from tests.tools.faults.clock import fast

FIRING = 'ALERTS{{alertname="{}", alertstate="firing"}}'


class Prometheus:
    """One Prometheus; `async with` starts and ends it."""

    def __init__(self, folder: Path, jobs: Mapping[str, list[int]]) -> None:
        """`jobs`: the ports of each, on this machine."""
        self.port = free_ports(1)[0]
        self.folder = folder
        folder.mkdir()
        for name in RULE_FILES:
            text = fast((RULES / name).read_text())
            (folder / name).write_text(text.replace("interval: 500ms", "interval: 1s"))
        config = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": list(RULE_FILES),
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
                }
                for job, ports in jobs.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self.folder}/prometheus.yml",
                    f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                await self.ask("query", query="vector(1)")
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
                await asyncio.sleep(0.2)
            else:
                return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    async def ask(self, what: str, **arguments: str) -> Any:
        """The data of an answer of its API. Raises OSError."""
        words = urllib.parse.urlencode(arguments)

        def get() -> Any:
            address = f"http://127.0.0.1:{self.port}/api/v1/{what}?{words}"
            with urllib.request.urlopen(address, timeout=20) as answer:
                return json.load(answer)["data"]

        return await asyncio.to_thread(get)

    async def firing(self, alert: str) -> list[dict[str, str]]:
        """The labels of what an alert fires for."""
        data = await self.ask("query", query=FIRING.format(alert))
        return [one["metric"] for one in data["result"]]

    async def until(self, alert: str, *, fires: bool, within_s: float) -> float:
        """Wait until it fires, or until it does not; the seconds it took. Raises TimeoutError."""
        began_s = time.monotonic()
        while bool(await self.firing(alert)) is not fires:
            if time.monotonic() - began_s > within_s:
                raise TimeoutError(f"{alert}: after {within_s:g} s it is not so that fires={fires}")
            await asyncio.sleep(0.5)
        return time.monotonic() - began_s

    async def series(self, name: str, begin_s: float, end_s: float) -> list[dict[str, Any]]:
        """Every series of a metric, a sample a second: `metric` (labels) and `values`."""
        data = await self.ask(
            "query_range", query=name, start=f"{begin_s}", end=f"{end_s}", step="1"
        )
        found: list[dict[str, Any]] = data["result"]
        return found
