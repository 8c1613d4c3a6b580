"""The conformance test of workers: it plays the server's part of each hard case, and checks what a worker sends.

    PYTHONPATH=clients python3 -m conformance -- node worker.mjs

It needs Python 3.11 and nothing else. docs/worker-protocol.md says what the program under test has to do.
"""
