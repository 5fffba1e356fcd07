"""Files beside the code: defaults, examples, units, alerts, dashboards, settings of proxies.

An installed package has them in its folder `assets`, a clone of the repository at their places.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class BundledFiles:
    """Files for operators, by `name`: a folder or one file at `path` in the repository."""

    name: str
    path: str
    text: str


ASSETS: Final = {
    asset.name: asset
    for asset in (
        BundledFiles(
            "settings", "config/default.toml", "every setting, with its default and its unit"
        ),
        BundledFiles("feeds", "config/feeds", "an example for each kind of feed"),
        BundledFiles("agreements", "config/agreements", "examples of agreements between countries"),
        BundledFiles("systemd", "deploy/systemd", "hardened units, and the names of the secrets"),
        BundledFiles("prometheus", "deploy/prometheus", "alerts, recording rules, scrape targets"),
        BundledFiles("grafana", "deploy/grafana", "dashboards"),
        BundledFiles("kamailio", "deploy/kamailio", "Kamailio that asks the keys in Redis"),
        BundledFiles("opensips", "deploy/opensips", "OpenSIPS that asks the keys in Redis"),
        BundledFiles("nginx", "deploy/nginx-exchange.conf", "nginx in front of published lists"),
        BundledFiles(
            "runbook", "deploy/RUNBOOK.md", "each alert and finding: meaning, first look, fix"
        ),
        BundledFiles("metrics", "deploy/METRICS.md", "the catalogue of metrics"),
    )
}
"""In the order of `ringfence assets list`; pyproject.toml packs the same paths."""


def location(name: str) -> Path:
    """Return the folder or the file of the asset `name`."""
    package = Path(str(files("stream")))
    packed = package / "assets"
    return (packed if packed.is_dir() else package.parent) / ASSETS[name].path


def file_names(name: str) -> dict[str, Path]:
    """Return the files of an asset: relative name, as an export has it -> where it lies now."""
    found = location(name)
    if found.is_file():
        return {found.name: found}
    inside = sorted(path for path in found.rglob("*") if path.is_file())
    return {f"{name}/{path.relative_to(found)}": path for path in inside}
