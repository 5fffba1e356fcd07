"""The documentation: reference pages written from the code, then a site built by Sphinx.

`python -m tests.tools.docs` (make docs) puts the pages of docs/ and the written ones into
build/docs-source and builds them strictly into build/docs. `--schemas` (make docs-reference)
writes the files that partners fetch, JSON Schema, AsyncAPI and OpenAPI, into docs/reference.
"""
