"""Certificates for tests of TLS: an authority of the test's own, and a server and a client that it signed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.server import Installed


def can_tls(installed: Installed) -> bool:
    """Whether the server was built with TLS: it then needs the library of OpenSSL."""
    return b"libssl.so" in Path(installed.path).read_bytes()


class Certificates:
    """An authority, `ca`, and the files of a `server` for this machine and of a `client`, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ca = folder / "ca.crt"
        new_key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        subject = ["-days", "2", "-subj"]
        openssl(
            *new_key, "-keyout", folder / "ca.key", "-out", self.ca, *subject, "/CN=an authority of a test"
        )
        for name in ("server", "client"):
            address = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
            signed = ["-CA", self.ca, "-CAkey", folder / "ca.key"]
            files = ["-keyout", self.key(name), "-out", self.certificate(name)]
            openssl(*new_key, *files, *subject, f"/CN={name}", *address, *signed)

    def certificate(self, name: str) -> Path:
        """The file of a certificate."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The file of a private key."""
        return self.folder / f"{name}.key"

    def settings(self, port: int) -> dict:
        """The settings of a server that listens with TLS only."""
        return {
            "tls_port": port,
            "tls_cert_file": self.certificate("server"),
            "tls_key_file": self.key("server"),
            "tls_ca_cert_file": self.ca,
            "tls_replication": "yes",
        }


def openssl(*words: object) -> None:
    """Run openssl."""
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
