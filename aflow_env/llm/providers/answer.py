# SPDX-License-Identifier: Apache-2.0
"""Read a server's answer up to a limit, and clean every text of it before any other use.

A clean text has no API key in any spelling, and no lone surrogates. Displayed texts (headers, errors) have no control
characters either. The whole room works on `Answer`, so every text is clean.
"""

import json
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aflow_env.llm.keys import ApiKey

JSON = Any

LARGEST = 8 * 2**20
"""Bytes of an answer, decompressed: far above any chat completion, and little memory for each call."""
SHOWN, READ = 300, 3000
"""Characters of a server's words that are shown, and that are read for their meaning."""
COMPRESSED = ("gzip", "x-gzip", "deflate")
ACCEPTED = "gzip, deflate"


class UnreadableAnswer(Exception):
    """The body is larger than the limit, or is not compressed as its header claims."""


@dataclass(frozen=True)
class Answer:
    """A server's whole answer, clean. `plain` is its body as JSON, or None. `begin` is its beginning in one line."""

    status: int
    headers: Mapping[str, str]
    begin: str
    plain: JSON


def request_id(headers: Mapping[str, str]) -> str:
    """Return the provider's name for the request, cut to 100 characters, or the empty string."""
    return (headers.get("request-id") or headers.get("x-request-id") or "")[:100]


def clean_answer(status: int, headers: Mapping[str, str], body: bytes, key: ApiKey) -> Answer:
    """Clean a server's answer."""
    text = body.decode("utf-8", "replace").lstrip("\ufeff")
    try:
        plain = _scrubbed(json.loads(text), key)
    except (ValueError, RecursionError):  # no JSON, numbers of 5,000 digits, or nested beyond reason
        plain = None
    shown = {name.lower(): one_line(key.scrub(value)) for name, value in headers.items()}
    return Answer(status, shown, one_line(key.scrub(text[: 2 * READ]), READ), plain)


def one_line(text: str, size: int = SHOWN) -> str:
    """Return the text as one line of at most `size` characters. Unprintable characters become spaces."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())[:size]


async def read_body(chunks: AsyncIterator[bytes], encoding: str, largest: int = LARGEST) -> bytes:
    """Read a body and decompress it on the way. Raises UnreadableAnswer as soon as it is larger than `largest`."""
    encoding = encoding.strip().lower()
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if encoding in COMPRESSED else None
    if inflate is None and encoding not in ("", "identity"):
        raise UnreadableAnswer(f"the answer is compressed by {encoding[:20]!r}, which was not asked for")
    body = bytearray()
    async for chunk in chunks:
        try:
            body += inflate.decompress(chunk, largest + 1 - len(body)) if inflate else chunk
        except zlib.error as error:
            raise UnreadableAnswer(f"the answer is not {encoding}: {error}") from None
        if len(body) > largest:
            raise UnreadableAnswer(f"the answer has more than {largest:,} bytes")
    if inflate and not inflate.eof:
        raise UnreadableAnswer(f"the answer ends within its {encoding}")
    return bytes(body)


def _scrubbed(node: JSON, key: ApiKey) -> JSON:
    """Return the same JSON with clean texts."""
    if isinstance(node, str):
        return key.scrub(node).encode("utf-8", "replace").decode("utf-8")
    if isinstance(node, dict):
        return {_scrubbed(name, key): _scrubbed(value, key) for name, value in node.items()}
    return [_scrubbed(each, key) for each in node] if isinstance(node, list) else node
