"""An authority of its own for each cluster, and what it signs, by openssl."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.binaries import installed

_SERIAL = threading.Lock()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates and puts them into ``folder``."""

    folder: Path
    own: Certificate

    @classmethod
    def create(cls, folder: Path, name: str) -> Authority:
        own = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
        _key(own.key)
        _openssl(
            "req",
            "-x509",
            "-new",
            "-key",
            own.key,
            "-days",
            "30",
            "-subj",
            f"/CN={name}",
            "-out",
            own.certificate,
        )
        return cls(folder, own)

    def sign(
        self, file: str, name: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()
    ) -> Certificate:
        """A certificate of the user ``name`` in these groups, or of a server that has these names and addresses."""
        signed = Certificate(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        request, extensions = self.folder / f"{file}.csr", self.folder / f"{file}.ext"
        _key(signed.key)
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={name}"
        _openssl("req", "-new", "-key", signed.key, "-subj", subject, "-out", request)
        lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
        if hosts:
            names = (f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts)
            lines.append(f"subjectAltName={','.join(names)}")
        extensions.write_text("\n".join(lines) + "\n")
        # Openssl keeps the last serial number in a file, which two at once destroy.
        with _SERIAL:
            # fmt: off
            _openssl("x509", "-req", "-in", request, "-CA", self.own.certificate, "-CAkey", self.own.key,
                     "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", signed.certificate)
            # fmt: on
        return signed


def signing_key(folder: Path) -> tuple[Path, Path]:
    """A private and a public key, as service account tokens are signed and checked with."""
    private, public = folder / "tokens.key", folder / "tokens.pub"
    _key(private)
    _openssl("ec", "-in", private, "-pubout", "-out", public)
    return private, public


def _key(path: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([installed("openssl"), *arguments], check=True, capture_output=True)
