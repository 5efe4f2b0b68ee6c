# SPDX-License-Identifier: Apache-2.0
"""Read a server's answer up to a limit, clean every text of it before any other use, and name the failure in it.

A clean text has no API key in any spelling, and no lone surrogates. Displayed texts (headers, errors) have no control
characters either. The whole room works on `Answer`, so every text is clean.

From status, code and text comes one `LLMError` kind, with the likely bill. All wire formats use the same statuses, so
one table serves them. A failure may also come in the body of a success: gateways answer 200 and put the status of the
provider behind them into `error.code`.
"""

import email.utils
import json
import math
import re
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aflow_env.llm.client import ErrorKind, LLMError, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey

JSON = Any

LARGEST = 8 * 2**20  # bytes of an answer, decompressed: far above any chat completion, and little memory for each call
SHOWN, READ = 300, 3000  # characters of a server's words that are shown, and that are read for their meaning
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
    if isinstance(node, str):
        return key.scrub(node).encode("utf-8", "replace").decode("utf-8")
    if isinstance(node, dict):
        return {_scrubbed(name, key): _scrubbed(value, key) for name, value in node.items()}
    return [_scrubbed(each, key) for each in node] if isinstance(node, list) else node


CONNECT_SECONDS = 5.0  # how long a connection may take
LONG_PROMPT = 32_768
"""Bytes from which a prompt may be too large for a server that answers 413. Below, the server's limit is to blame."""
KINDS: dict[int, ErrorKind] = {
    **dict.fromkeys((301, 302, 303, 307, 308, 404), "not_found"),
    **dict.fromkeys((401, 403), "authentication"),
    **dict.fromkeys((408, 504), "timeout"),
    **dict.fromkeys((409, 503, 529), "overloaded"),
    **{400: "bad_request", 402: "quota", 429: "rate_limited"},
}
STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "rate_limit_error": 429, "rate_limit_exceeded": 429, "timeout_error": 504,
    "overloaded_error": 529, "api_error": 500, "server_error": 500, "internal_server_error": 500,
}  # fmt: skip
"""Statuses by the names that providers have for them, for failures that come without one."""
FILTERED = ("content_filter", "content_policy_violation", "invalid_prompt")
"""Names of OpenAI and Azure for a prompt that their filter stopped, with status 400."""
TOO_LONG = re.compile(
    "context_length_exceeded|maximum context length|prompt is too long|longer than the maximum model|"
    "exceed context limit"
)
CONTEXT = re.compile(r"(?:maximum context length is|tokens >|maximum model length of)\s*(\d+)")


def failure(answer: Answer, request: Request) -> LLMError | PromptTooLong | None:
    """Return the error that an answer means, None for a success, whose body may still be no reply."""
    codes, text, told = _problem(answer)
    if not 200 <= answer.status < 300:
        return status_error(answer.status, codes, text, answer.headers, request)
    if not (codes or text):
        return None
    if told is None:
        name = request_id(answer.headers)
        return LLMError("malformed", f"the server says {text[:SHOWN]}", request_id=name, bill="unknown")
    error = status_error(told, codes, text, answer.headers, request)
    if isinstance(error, LLMError) and error.kind != "rate_limited":
        error.bill = "unknown"  # the gateway took the call, and may have been billed before it failed
    return error


def status_error(
    status: int, codes: str, text: str, headers: Mapping[str, str], request: Request
) -> LLMError | PromptTooLong:
    """Return the exception for an error status. `codes` are the provider's own names for it. All texts are clean.

    A prompt that does not fit is the workflow's fault, unless max_tokens alone takes more than half of the model's
    context. Then it is the config's fault.
    """
    if status in (400, 413, 422) and TOO_LONG.search(f"{codes} {text}"):
        context = CONTEXT.search(text)
        if context and 2 * request.max_tokens > int(context[1]):
            fix = f"max_tokens={request.max_tokens} leaves too little of the model's {context[1]} tokens: lower it"
            return LLMError("bad_request", f"{fix} ({text[:SHOWN]})")
        return PromptTooLong(text[:SHOWN])
    if status == 413 and request.prompt_bytes >= LONG_PROMPT:
        return PromptTooLong(text[:SHOWN])
    kind: ErrorKind = KINDS.get(status, "server_error" if status >= 500 else "bad_request")
    if "insufficient_quota" in codes or "billing_error" in codes or "credit balance" in text:
        kind = "quota"
    elif any(name in codes for name in FILTERED):
        kind = "refused"
    said = f": {text[:SHOWN]}" if text else ""
    if kind == "not_found" and not text:
        said = ", no such address or model: check base_url (it often ends in /v1) and model"
    return LLMError(
        kind,
        f"status {status}{said}",
        retry_after=retry_after(headers),
        request_id=request_id(headers),
        bill="unknown" if kind == "timeout" else "none",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait (retry-after-ms, or retry-after in seconds or as a date)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    parsed = email.utils.parsedate_tz(headers.get("retry-after", ""))
    try:
        return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else None
    except (OverflowError, ValueError):
        return None


def _problem(answer: Answer) -> tuple[str, str, int | None]:
    """Return the server's own names for the failure, its words, and the status in its body.

    Understood are {"error": {"message", "code", "type"}}, {"error": text}, the same without the outer object (`object`
    is "error" then), and an error within a choice. An error status with any other body shows the body's beginning.
    """
    if 300 <= answer.status < 400 and (place := answer.headers.get("location")):
        return "", f"the server has moved to {place}: set base_url to its new address", None
    body = answer.plain if isinstance(answer.plain, dict) else {}
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    bare = answer.status >= 400 or body.get("object") == "error"
    error = body.get("error") or first.get("error") or (body if bare and "message" in body else None)
    if not isinstance(error, dict):
        shown = answer.begin if error or answer.status >= 300 else ""
        return "", one_line(error, READ) if error and isinstance(error, str) else shown, None
    words, names = error.get("message"), [error.get("code"), error.get("type")]
    told = next((status for name in names if (status := _status(name))), None)
    codes = " ".join(one_line(str(name)) for name in names if isinstance(name, str | int))
    return codes, one_line(words if isinstance(words, str) else answer.begin, READ), told


def _status(name: Any) -> int | None:
    if isinstance(name, str) and not name.isdecimal():
        return STATUS.get(name)
    try:
        return int(name) if 400 <= int(name) < 600 else None
    except (TypeError, ValueError, OverflowError):
        return None
