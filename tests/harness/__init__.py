"""The harness that tests, benchmarks and examples share: real servers, clusters, bare clients, queues to compare.

Folders of tests contain only tests and their fixtures. Everything that several of them import is here. `make` installs
this package and the library into .venv, both editable, so that the code of the tree runs.
"""
