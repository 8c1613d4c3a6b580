"""What tests, benchmarks and examples share: real servers, clusters, bare clients, queues to compare.

Folders of tests hold tests and their fixtures, nothing that others import; that is here. `make` installs it into .venv
beside the library, both editable: what runs is the tree.
"""
