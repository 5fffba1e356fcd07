"""Write deploy/grafana/*.json."""

from tests.tools.dashboards.files import FOLDER, texts


def main() -> None:
    """Every dashboard."""
    for name, text in texts().items():
        (FOLDER / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
