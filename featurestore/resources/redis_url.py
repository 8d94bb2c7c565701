"""How the URL of a Redis names it: one server, a server that Sentinel finds, or a cluster.

    redis://host:6379/0                         one server, and which of its databases
    redis+sentinel://a:26379,b:26379/main/0     the master that Sentinel knows as ``main``
    redis+cluster://a:6379,b:6379               a Redis Cluster, by any of its nodes

With ``rediss`` in the place of ``redis`` all connections are TLS. These are the URLs of redis-py, and for what it has no
URL for those of https://limits.readthedocs.io.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from featurestore.resources.rule import SpecRule

REDIS_PATTERN = r"^rediss?(\+cluster|\+sentinel)?://.+$"
_ONE = r"^rediss?://[^,/?#]*([/?#].*)?$"
_CLUSTER = r"^rediss?\+cluster://[^/?#]+(/0?)?([?#].*)?$"
_SENTINEL = r"^rediss?\+sentinel://[^/?#]+/[A-Za-z0-9._-]+(/[0-9]{1,4})?/?([?#].*)?$"
_PORT = {"server": 6379, "cluster": 6379, "sentinel": 26379}

RedisKind = Literal["server", "cluster", "sentinel"]


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """``nodes``: host and port of each that is named. ``service``: what Sentinel calls the master."""

    kind: RedisKind
    has_tls: bool
    nodes: tuple[tuple[str, int], ...]
    service: str
    database: int
    query: str

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """A URL that the rules below hold of.

        >>> RedisUrl.parse("rediss+sentinel://a,b:5000/main/3").nodes
        (('a', 26379), ('b', 5000))
        """
        parts = urlsplit(url)
        scheme, _, name = parts.scheme.partition("+")
        kind: RedisKind = "cluster" if name == "cluster" else "sentinel" if name == "sentinel" else "server"
        nodes = []
        for each in parts.netloc.rpartition("@")[2].split(","):
            node = urlsplit(f"//{each}")
            nodes.append((node.hostname or "localhost", node.port or _PORT[kind]))
        path = [part for part in parts.path.split("/") if part]
        service = path.pop(0) if kind == "sentinel" and path else ""
        database = int(path[0]) if path and path[0].isdigit() else 0
        return cls(kind, scheme == "rediss", tuple(nodes), service, database, parts.query)

    @property
    def servers(self) -> tuple[str, ...]:
        """URLs of the servers that are asked first, each with its port. One that hides in a query is that query.

        >>> RedisUrl.parse("rediss+cluster://a,[::1]:7000").servers
        ('rediss://a:6379', 'rediss://[::1]:7000')
        >>> RedisUrl.parse("redis://a/0?port=1").servers
        ('redis://?port=1',)
        """
        scheme = "rediss" if self.has_tls else "redis"
        if self.kind == "server" and {"host", "port"} & parse_qs(self.query).keys():
            # redis-py takes from there what stands nowhere else.
            return (f"{scheme}://?{self.query}",)
        hosts = ((f"[{host}]" if ":" in host else host, port) for host, port in self.nodes)
        return tuple(f"{scheme}://{host}:{port}" for host, port in hosts)


def _rule(scheme: str, pattern: str, message: str) -> SpecRule:
    """URLs of this scheme match the pattern."""
    return SpecRule(
        message=message,
        holds=lambda redis: (
            redis.url is None
            or not re.match(rf"^rediss?{scheme}://", redis.url)
            or bool(re.match(pattern, redis.url))
        ),
        cel=f"!has(self.url) || !self.url.matches(r'^rediss?{scheme}://') || self.url.matches(r'{pattern}')",
        field="url",
    )


URL_RULES = (
    _rule(
        "", _ONE, "several hosts are those of redis+cluster:// or redis+sentinel://, and one that of redis://"
    ),
    _rule(
        r"\+cluster",
        _CLUSTER,
        "a cluster is redis+cluster://host:port,host:port, with nothing after it: it has one database",
    ),
    _rule(
        r"\+sentinel",
        _SENTINEL,
        "a master is named to Sentinel as redis+sentinel://host:port,host:port/service/database; the database may be left out",
    ),
)
