"""What libpq is told, so that a server lets it in: from variables of the environment or keys of a Secret."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from featurestore.errors import SpecError
from featurestore.resources.sql_query import SqlQuery

USERNAME, PASSWORD, TLS = "POSTGRES_USERNAME", "POSTGRES_PASSWORD", "POSTGRES_TLS"
AUTHORITIES, CERTIFICATE, KEY = "POSTGRES_TLS_CA", "POSTGRES_TLS_CERTIFICATE", "POSTGRES_TLS_KEY"
NAMES = (USERNAME, PASSWORD, TLS, AUTHORITIES, CERTIFICATE, KEY)
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES = {AUTHORITIES: "sslrootcert", CERTIFICATE: "sslcert", KEY: "sslkey"}
_NOWHERE = os.path.join(os.sep, "nonexistent")
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "featurestore",
}
"""A server that is gone without a word is noticed within half a minute."""


@dataclass(frozen=True, slots=True)
class SqlLogin:
    """By the names of the variables, those that are set. ``own``: whether libpq may look for others by itself."""

    variables: tuple[tuple[str, str], ...] = field(repr=False)
    own: bool

    @classmethod
    def of(cls, environ: Mapping[str, str] | None) -> SqlLogin:
        """``environ``: None for the process's own environment."""
        known = os.environ if environ is None else environ
        return cls(tuple((name, known[name]) for name in NAMES if known.get(name)), environ is None)

    @contextmanager
    def uri(self, sql: SqlQuery) -> Iterator[str]:
        """What libpq connects to, the password in it. Files that it names are there until the end of the block.

        https://www.postgresql.org/docs/current/libpq-connect.html

        Raises:
            SpecError: there is no user's name, or what is said of TLS has no meaning.
        """
        given = dict(self.variables)
        if not self.own and USERNAME not in given:
            raise SpecError("the login has no user", where=sql.place, wanted=f"{USERNAME} in the Secret")
        mode = given.get(TLS, "verify-full" if AUTHORITIES in given else None)
        if mode is not None and mode not in _MODES:
            raise SpecError(
                "TLS has no meaning", where=sql.place, wanted=f"{TLS}: {', '.join(_MODES)}", got=mode
            )
        options = {**_PATIENCE, **({"sslmode": mode} if mode else {})}
        if not self.own:
            # Where nothing is named, libpq would look into the files of whoever runs this.
            options |= {"passfile": _NOWHERE, "sslcert": _NOWHERE, "gssencmode": "disable"}
        user = quote(given.get(USERNAME, ""), safe="")
        password = f":{quote(given[PASSWORD], safe='')}" if PASSWORD in given else ""
        host = f"[{sql.host}]" if ":" in sql.host else sql.host
        login = f"{user}{password}@" if user else ""
        # There is no way to give a certificate but in a file.
        with tempfile.TemporaryDirectory(prefix="featurestore-") as folder:
            for name, option in _FILES.items():
                if name in given:
                    pem = Path(folder, option)
                    pem.touch(0o600)
                    pem.write_text(given[name])
                    options[option] = str(pem)
            yield f"postgresql://{login}{host}:{sql.port}/{sql.database}?{urlencode(options, quote_via=quote)}"
