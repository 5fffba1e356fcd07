"""How Sphinx builds the site: `make docs`. Strict: every warning is an error."""

from pathlib import Path

from stream import __version__

project = "Ringfence"
author = "The Ringfence authors"
project_copyright = "2026, the Ringfence authors. Apache License 2.0"
version = release = __version__
html_title = f"Ringfence {__version__}"
html_short_title = "Ringfence"

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
root_doc = "index"
nitpicky = True
suppress_warnings: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
# Headings down to the fourth level are link targets, as on GitHub.
myst_heading_anchors = 4

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["ringfence.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7fb4f2", "color-brand-content": "#7fb4f2"},
    "navigation_with_keys": True,
}
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False

# Only commands are copied from a transcript, without their prompts.
copybutton_prompt_text = r"\$ |> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_here_doc_delimiter = "END"

# Partners' words and numbers are no code of a language that is marked up.
highlight_language = "text"

# A page of section 1 for each first word of the command line: `man ringfence-lists`.
man_pages = [
    (
        f"reference/cli/{path.stem}",
        "ringfence" if path.stem == "index" else f"ringfence-{path.stem}",
        "carriers' blocklists over streams of calls",
        "Ringfence",
        1,
    )
    for path in sorted((Path(__file__).parent / "reference/cli").glob("*.md"))
]
