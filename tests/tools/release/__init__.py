"""Everything that is released, built and checked from one tag: `make release`. Nothing is uploaded.

`python -m tests.tools.release` fills build/release: wheel, Debian package, chart, image, the list
of packages (CycloneDX), notes, checksums, and their signature by an SSH key, as git signs tags.
`make deb` is the Debian package alone.
"""
