"""A Redis Cluster: each master is asked once for all that it has, and keys are followed where they move.

Which master has which slot is learned from any node, and again when one says that a slot moved or does not answer. While a slot
is moved, its keys are at two masters: scripts wait until it is done, and reads go key by key (``ASK``). What is asked for
again after a failure is asked for within the time that one answer may take, or by the deadline, so that callers are told in time.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from featurestore.errors import StorageError
from featurestore.online.deadline import Deadline, left_s, until_s
from featurestore.online.redis.build_keys import SLOTS, BuildKeys, slot_of
from featurestore.online.redis.connection_options import package, retry_once
from featurestore.online.redis.deployment import SCANNED_AT_ONCE, TIMEOUT_S, RedisDeployment, ScriptCall
from featurestore.online.redis.timed_connection import timed

Node = tuple[str, int]
Command = Sequence[bytes | str | int]
_PAUSE_S = 0.05
_LEARN_S = 1.0
"""How long a node may take to say who has which slots: there are others."""


class RedisCluster(RedisDeployment):
    """See :class:`featurestore.online.redis.deployment.RedisDeployment`.

    Raises:
        CodeError: redis-py is not installed.
    """

    def __init__(
        self, url: str, environ: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(url, environ, timeout_s)
        self._redis, self._errors = package("redis"), package("redis.exceptions")
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._owners: list[Node] = []
        self._learned, self._is_doubtful = 0, False
        self._pools: dict[Node, _Connections] = {}

    def keys_of(self, view: str, digest: str) -> BuildKeys:
        return BuildKeys.spread(view, digest)

    def get_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        groups = _by_slot(names)
        replies = self._run([(slot, ("MGET", *group)) for slot, group in groups.items()])
        answers: dict[bytes, bytes | None] = {}
        for (slot, group), values in zip(groups.items(), replies, strict=True):
            if isinstance(values, self._errors.TryAgainError):
                # The slot is being moved, and the one who has it does not know of all of these keys.
                first, *others = group
                values = self._run([(slot, ("GET", first))])
                values += self._run([(slot, ("GET", name)) for name in others])
            answers.update(zip(group, values, strict=True))
        return [answers[name] for name in names]

    async def get_many_async(self, names: Sequence[bytes]) -> list[bytes | None]:
        return await asyncio.to_thread(self.get_many, names)

    async def aclose(self) -> None:
        """Nothing is opened for a loop."""

    def evaluate(self, calls: Iterable[ScriptCall]) -> Iterator[Any]:
        requests: list[tuple[int, Command]] = [
            (slot_of(names[0]), ("EVAL", script, len(names), *names, *arguments))
            for script, names, arguments in calls
        ]
        yield from self._run(requests, waits=True)

    def unlink(self, names: Sequence[bytes]) -> None:
        # One by one, so that those of a slot that is being moved are found.
        self._run([(slot_of(name), ("UNLINK", name)) for name in names])

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        before = self._layout()
        for node in before:
            client, cursor = self._connections(node).client, 0
            while True:
                with self.explained():
                    cursor, page = client.scan(cursor, match=pattern, count=SCANNED_AT_ONCE)
                if page:
                    yield page
                if cursor == 0:
                    break
        if self._layout() != before:
            raise StorageError(
                "slots of the cluster were moved while its keys were listed",
                where=self.url,
                wanted="the same masters and slots until all keys are listed",
                hint="It is tried again",
            )

    def info(self, section: str) -> list[Mapping[str, Any]]:
        with self.explained():
            return [self._connections(node).client.info(section) for node in self._masters()]

    def _masters(self) -> list[Node]:
        """All of them, as they are now."""
        with self.explained():
            self._learn(self._learned)
        return sorted(set(self._owners))

    def _layout(self) -> dict[Node, list[Any]]:
        """Of each master what it says of itself: who it is, how often slots changed, its slots and those that move."""
        layout = {}
        with self.explained():
            for node in self._masters():
                nodes = self._connections(node).client.execute_command("CLUSTER NODES")
                own = next(each for each in nodes.values() if "myself" in each["flags"])
                layout[node] = [own[name] for name in ("node_id", "epoch", "slots", "migrations")]
        return layout

    def _run(self, requests: Sequence[tuple[int, Command]], waits: bool = False) -> list[Any]:
        """The answer to each command, which is one of the given slot.

        A TryAgainError is an answer unless ``waits``: then it is asked again.
        """
        if self._pid != os.getpid():
            self._begin()
        deadline = min(time.monotonic() + self.timeout_s, until_s())
        replies: list[Any] = [None] * len(requests)
        asked: dict[int, Node] = {}
        left = list(range(len(requests)))
        failures = 0
        with self.explained():
            while left:
                if not self._owners or self._is_doubtful:
                    self._learn(self._learned)
                learned, owners = self._learned, self._owners
                by_node: dict[Node, list[int]] = defaultdict(list)
                for place in left:
                    by_node[asked.get(place) or owners[requests[place][0]]].append(place)
                self._exchange(by_node, requests, asked, replies)
                asked, again, lost = {}, [], None
                for node, places in by_node.items():
                    for place in places:
                        reply = replies[place]
                        if not isinstance(reply, Exception):
                            continue
                        if isinstance(reply, self._errors.TryAgainError) and not waits:
                            continue
                        if not self._passes(reply):
                            if isinstance(reply, self._errors.TimeoutError):
                                # A master that hangs may have been replaced when the next read comes.
                                self._is_doubtful = True
                            raise reply
                        again.append(place)
                        if isinstance(reply, self._errors.AskError):
                            asked[place] = reply.host or node[0], reply.port
                        elif isinstance(reply, self._errors.MovedError):
                            self._owners[requests[place][0]] = reply.host or node[0], reply.port
                        else:
                            lost = reply
                if again and time.monotonic() > deadline:
                    raise replies[again[0]]
                if lost is not None:
                    # At first it may be a kept connection that was closed.
                    if failures:
                        time.sleep(_PAUSE_S)
                    failures += 1
                    self._relearn(learned, deadline, lost)
                left = again
        return replies

    def _passes(self, error: Exception) -> bool:
        """Whether asking again may help before the deadline."""
        errors = self._errors
        if isinstance(error, errors.AuthenticationError):
            return False
        moved = errors.MovedError, errors.AskError, errors.TryAgainError
        return isinstance(
            error, (*moved, errors.ClusterDownError, errors.MasterDownError, errors.ConnectionError)
        )

    def _exchange(
        self,
        by_node: Mapping[Node, list[int]],
        requests: Sequence[tuple[int, Command]],
        asked: Mapping[int, Node],
        replies: list[Any],
    ) -> None:
        """Send all, and only then wait: masters work at the same time."""
        failures = self._errors.ConnectionError, self._errors.TimeoutError, OSError
        sent = []
        for node, places in by_node.items():
            connections = self._connections(node)
            connection = connections.take()
            commands: list[Command] = []
            for place in places:
                if place in asked:
                    commands.append(("ASKING",))
                commands.append(requests[place][1])
            try:
                connection.send_packed_command(connection.pack_commands(commands))
            except failures as error:
                connection.disconnect()
                connections.idle.append(connection)
                for place in places:
                    replies[place] = error
            else:
                sent.append((connections, connection, places))
        for connections, connection, places in sent:
            broken: Exception | None = None
            for place in places:
                if broken is None:
                    try:
                        if place in asked:
                            # What it says comes with the answer to the command itself, too.
                            with suppress(self._errors.ResponseError):
                                connection.read_response()
                        replies[place] = connection.read_response()
                        continue
                    except failures as error:
                        connection.disconnect()
                        broken = error
                    except self._errors.ResponseError as error:
                        replies[place] = error
                        continue
                replies[place] = broken
            connections.idle.append(connection)

    def _connections(self, node: Node) -> _Connections:
        pool = self._pools.get(node)
        if pool is None:
            # Two threads may make it at once: then one is used, and the other forgotten.
            pool = self._pools.setdefault(node, _Connections(self._open(node)))
        return pool

    def _open(self, node: Node) -> Any:
        """A client of one node."""
        scheme = "rediss" if self.address.has_tls else "redis"
        host = f"[{node[0]}]" if ":" in node[0] else node[0]
        query = f"?{self.address.query}" if self.address.query else ""
        options = {**self.connection_options(), "retry": retry_once("redis")}
        return timed(self._redis.Redis.from_url(f"{scheme}://{host}:{node[1]}/0{query}", **options))

    def _relearn(self, learned: int, deadline: float, lost: Exception) -> None:
        """Ask who has which slots, unless another thread has since; what is known holds if nobody answers."""
        try:
            self._learn(learned)
        except (self._errors.RedisError, OSError):
            if time.monotonic() > deadline:
                raise lost from None

    def _learn(self, learned: int) -> None:
        wait_s = left_s()
        if not self._lock.acquire(timeout=-1 if wait_s == math.inf else max(wait_s, 0)):
            raise self._errors.TimeoutError("another thread still asks who has which slots")
        try:
            if self._learned == learned:
                self._owners = self._asked_owners()
                self._learned, self._is_doubtful = self._learned + 1, False
        finally:
            self._lock.release()

    def _asked_owners(self) -> list[Node]:
        """The master of each slot, as the first node says that answers and knows them all."""
        failure: Exception = self._errors.ConnectionError("no node of the cluster answers")
        # Those named by the URL come last: they may have left.
        for node in dict.fromkeys((*set(self._owners), *self.address.nodes)):
            connection = self._open(node).connection_pool.make_connection()
            try:
                # One that hangs leaves time for the others, and for the read.
                with Deadline(min(_LEARN_S, self.timeout_s / 3, left_s() / 3)):
                    connection.send_command("CLUSTER", "SLOTS")
                    owners = _owners(connection.read_response(), node[0])
            except (self._errors.RedisError, OSError) as error:
                failure = error
                continue
            finally:
                connection.disconnect()
            if owners is not None:
                return owners
            failure = self._errors.ConnectionError("some slots of the cluster have no master")
        raise failure


class _Connections:
    """Those of one node that nobody uses now."""

    def __init__(self, client: Any) -> None:
        self.client, self.idle = client, list[Any]()

    def take(self) -> Any:
        try:
            return self.idle.pop()
        except IndexError:
            return self.client.connection_pool.make_connection()


def _owners(ranges: Sequence[Sequence[Any]], asked: str) -> list[Node] | None:
    """The master of each slot; None if one has none. ``asked``: the host that stands for one that is left out."""
    owners: list[Node | None] = [None] * SLOTS
    for first, last, master, *_ in ranges:
        node = (_text(master[0]) if master[0] else asked), int(master[1])
        owners[first : last + 1] = [node] * (last + 1 - first)
    known = [owner for owner in owners if owner is not None]
    return known if len(known) == SLOTS else None


def _by_slot(names: Sequence[bytes]) -> dict[int, list[bytes]]:
    """The names of each slot, in their order."""
    groups: dict[int, list[bytes]] = defaultdict(list)
    for name in names:
        groups[slot_of(name)].append(name)
    return groups


def _text(data: Any) -> str:
    return data.decode() if isinstance(data, bytes) else str(data)
