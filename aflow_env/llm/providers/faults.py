# SPDX-License-Identifier: Apache-2.0
"""What a provider's failure means: from HTTP status, code and text to one `LLMError` kind, with the likely bill.

Both wire formats use the same statuses, so one table serves both. Texts are cut, and scrubbed of the key.
"""

import email.utils
import math
import re
import time
from collections.abc import Mapping

from aflow_env.llm.client import ErrorKind, LLMError, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey

TEXT_LIMIT = 300
KINDS: dict[int, ErrorKind] = {
    301: "not_found",
    302: "not_found",
    303: "not_found",
    307: "not_found",
    308: "not_found",
    400: "bad_request",
    401: "authentication",
    402: "quota",
    403: "authentication",
    404: "not_found",
    408: "timeout",
    409: "overloaded",
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
TOO_LONG = re.compile(
    "context_length_exceeded|maximum context length|prompt is too long|longer than the maximum model|"
    "exceed context limit"
)
CONTEXT = re.compile(r"(?:maximum context length is|tokens >|maximum model length of)\s*(\d+)")


def status_error(
    status: int, codes: str, text: str, headers: Mapping[str, str], request: Request, key: ApiKey
) -> LLMError | PromptTooLong:
    """The exception for a reply with an error status; `codes` are the provider's own names for it, if any."""
    shown = shorten(text, key)
    if status == 413 or (status in (400, 422) and TOO_LONG.search(f"{codes} {text}")):
        return _too_long(text, shown, request)
    kind: ErrorKind = KINDS.get(status, "server_error" if status >= 500 else "bad_request")
    if "insufficient_quota" in codes or "billing_error" in codes or "credit balance" in text:
        kind = "quota"
    return LLMError(
        kind,
        f"status {status}: {shown}",
        retry_after=retry_after(headers),
        request_id=request_id(headers),
        bill="unknown" if kind == "timeout" else "none",
    )


def connection_error(text: str, key: ApiKey, never_sent: bool) -> LLMError:
    """No whole reply came. Nothing was billed when not even a connection was made."""
    return LLMError("connection", shorten(text, key), bill="none" if never_sent else "unknown")


def request_id(headers: Mapping[str, str]) -> str:
    """The provider's name for the request, cut to 100 characters, or the empty string."""
    return (headers.get("request-id") or headers.get("x-request-id") or "")[:100]


def shorten(text: str, key: ApiKey) -> str:
    """One line of at most 300 characters, without the key."""
    return " ".join(key.scrub(text).split())[:TEXT_LIMIT]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (retry-after-ms, or retry-after in seconds or as a date), if it does."""
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


def _too_long(text: str, shown: str, request: Request) -> LLMError | PromptTooLong:
    """The workflow's fault, unless max_tokens alone takes more than half of the model's context: then the config's."""
    context = CONTEXT.search(text)
    if context and 2 * request.max_tokens > int(context[1]):
        fix = f"max_tokens={request.max_tokens} leaves too little of the model's {context[1]} tokens: lower it"
        return LLMError("bad_request", f"{fix} ({shown})")
    return PromptTooLong(shown)
