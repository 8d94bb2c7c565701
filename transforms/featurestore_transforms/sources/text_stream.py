"""A text file as UTF-8, piece by piece, whatever it is packed and encoded in."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.text_format import Encoding
from featurestore_transforms.sources.foreign import packed
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.source_file import open_stream

_BLOCK_BYTES = 4 << 20
_MARK = codecs.BOM_UTF8
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_LONGEST_LINE_BYTES = 64 << 20
_UNDECODABLE = "featurestore-undecodable"
codecs.register_error(_UNDECODABLE, lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]


class TextStream:
    """``skip_lines``: lines at the start that are left out, as is a byte order mark."""

    def __init__(
        self,
        arrival: Arrival,
        codec: str | None,
        encoding: Encoding = Encoding.UTF_8,
        skip_lines: int = 0,
    ) -> None:
        self._arrival = arrival
        self._codec = codec
        self._encoding = encoding
        self._skip_lines = skip_lines

    def start(self, size: int) -> tuple[bytes, bool]:
        """The first bytes of the text, ``size`` of them if there are so many, and whether that is all of it.

        Raises:
            UnreadableArrival: it is empty, or not a text file.
        """
        data, whole = b"", True
        for chunk, last in self.chunks(0, min(size, _BLOCK_BYTES)):
            if not data:
                self._require_text(chunk)
            data += chunk
            whole = last
            if len(data) >= size:
                break
        if not data.strip():
            raise UnreadableArrival("file:empty", "the file has no line")
        return data, whole

    def chunks(self, skip_bytes: int, size: int = _BLOCK_BYTES) -> Iterator[tuple[bytes, bool]]:
        """Pieces of the text after its first ``skip_bytes``, and whether each is the last one."""
        last: bytes | None = None
        for chunk in self._unskipped(size):
            cut = min(skip_bytes, len(chunk))
            skip_bytes -= cut
            if last is not None:
                yield last, False
            last = chunk[cut:]
        yield last or b"", True

    def _unskipped(self, size: int) -> Iterator[bytes]:
        lines = self._skip_lines
        rest = b""
        for chunk in self._unmarked(size):
            if not lines:
                yield chunk
                continue
            rest += chunk
            if len(rest) > _LONGEST_LINE_BYTES:
                raise UnreadableArrival("file:format", "a line to be skipped is longer than 64 MiB")
            while lines and (newline := rest.find(b"\n")) >= 0:
                rest, lines = rest[newline + 1 :], lines - 1
            if not lines:
                yield rest

    def _unmarked(self, size: int) -> Iterator[bytes]:
        """The text as UTF-8. What does not belong to its encoding is not UTF-8 either then, and is found as such."""
        first = True
        with open_stream(self._arrival, self._codec) as stream:
            decoder = self._decoder()
            while True:
                data = chunk = stream.read(size)
                if first:
                    self._require_declared(data)
                if decoder is not None:
                    chunk = decoder.decode(data, final=not data).encode(errors="surrogatepass")
                if first and chunk:
                    chunk, first = chunk.removeprefix(_MARK), False
                if chunk:
                    yield chunk
                if not data:
                    return

    def _decoder(self) -> codecs.IncrementalDecoder | None:
        if self._encoding is Encoding.UTF_8:
            return None
        return codecs.getincrementaldecoder(self._encoding.value)(errors=_UNDECODABLE)

    def _require_declared(self, start: bytes) -> None:
        if start.startswith(_UTF_32):
            raise UnreadableArrival("file:format", "UTF-32, by its byte order mark. Write it as UTF-8")
        if self._encoding is Encoding.UTF_8 and start.startswith(_UTF_16):
            raise UnreadableArrival(
                "file:format",
                "UTF-16 and not UTF-8: it begins with a byte order mark. "
                "Set spec.source.csv.encoding: UTF-16 if it is CSV; JSON is UTF-8",
            )
        if (what := packed(start)) is not None:
            raise UnreadableArrival("file:format", f"not text: {what}")

    def _require_text(self, start: bytes) -> None:
        line = start[:4096].split(b"\n", 1)[0]
        if b"\x00" not in line:
            return
        hint = (
            ". It may be UTF-16: see spec.source.csv.encoding" if line.count(b"\x00") * 3 > len(line) else ""
        )
        raise UnreadableArrival("file:format", f"not text: it holds a byte 0{hint}")
