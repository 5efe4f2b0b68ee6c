# SPDX-License-Identifier: Apache-2.0
"""A local server that speaks OpenAI's and Anthropic's wire formats, and fails on purpose, in every way a provider can.

Written on bare sockets, so that it can break the connection or the reply at any byte. What it answers depends on the
prompt alone; whether and how an attempt fails, on the prompt and the attempt's number. It keeps books for the tests.
"""

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

TURNED_AWAY = ("429", "429_wait", "500", "529")  # nothing billed
UNKNOWN_BILL = (  # the client cannot know what it costs
    "reset", "reset_midway", "drip", "truncated", "not_json", "html", "no_usage", "negative_usage", "huge_usage",
    "zero_usage", "no_choice",
)  # fmt: skip
TOLD_BILL = ("empty", "null")  # a whole reply with usage, and no text
FAULTS = TURNED_AWAY + UNKNOWN_BILL + TOLD_BILL

Plan = Callable[[str, int], str]
Model = Callable[[str], str]


def answer(prompt: str) -> str:
    """What the server's model says to a prompt."""
    return f"The answer is {int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16)}. Ünïcode ✓"


def usage(prompt: str) -> tuple[int, int]:
    """(prompt tokens, reply tokens) that the server bills."""
    return 3 + len(prompt) // 4, 5 + len(prompt) % 7


def no_fault(prompt: str, attempt: int) -> str:
    """A plan: nothing fails."""
    return ""


def thirty_percent(prompt: str, attempt: int) -> str:
    """A plan: 30 % of attempts fail, never more than three times in a row for one prompt."""
    digest = hashlib.sha256(f"{prompt}#{attempt}".encode()).digest()
    return FAULTS[digest[1] % len(FAULTS)] if attempt < 3 and digest[0] < 0.3 * 256 else ""


@dataclass
class Books:
    """What happened: `billed` prompt and reply tokens of whole replies, faults by name, prompts with unknown bills."""

    attempts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    billed: list[tuple[int, int]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    hung_up: int = 0
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


@asynccontextmanager
async def serve(
    plan: Plan = no_fault, drip_seconds: float = 30.0, model: Model = answer
) -> AsyncIterator[tuple[str, Books]]:
    """Run the server on a free port; yields its address (without /v1) and its books. `model` answers a prompt."""
    books = Books()
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        handlers.add(task)
        try:
            while await _exchange(reader, writer, plan, books, drip_seconds, model):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", books
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


@contextmanager
def serve_beside(plan: Plan = no_fault, model: Model = answer) -> Iterator[tuple[str, Books]]:
    """The same server in a thread of its own, for code that runs its own event loop."""
    ready: Queue[tuple[str, Books]] = Queue()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        async with serve(plan, model=model) as served:
            ready.put(served)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield ready.get(timeout=60)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plan: Plan, books: Books, drip_seconds: float,
    model: Model,
) -> bool:  # fmt: skip
    """Answer one request; False when the connection is over."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rest if row)}
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    path = line.split()[1]
    last = body["messages"][-1]["content"]
    prompt = last if isinstance(last, str) else last[0]["text"]
    fault = plan(prompt, books.attempts[prompt])
    books.attempts[prompt] += 1
    books.requests.append((path, headers, body))
    if fault:
        books.faults[fault] += 1
    if fault in UNKNOWN_BILL:
        books.unknown.append(prompt)
    elif fault not in TURNED_AWAY and not fault.startswith("status:"):
        books.billed.append(usage(prompt))
    text = {"empty": "", "null": None}.get(fault, model(prompt))
    if fault == "echo":
        body["model"] = _key(headers)
    good = json.dumps(
        (_anthropic if path.partition("?")[0].endswith("/messages") else _openai)(body, prompt, text, fault)
    ).encode()
    return await _reply(reader, writer, good, fault, headers, books, drip_seconds)


async def _reply(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, good: bytes, fault: str, headers: dict[str, str],
    books: Books, drip_seconds: float,
) -> bool:  # fmt: skip
    if fault == "reset":
        writer.transport.abort()
        return False
    if fault in ("reset_midway", "drip"):
        writer.write(_head(200, len(good)) + good[: len(good) // 2])
        await writer.drain()
        if fault == "drip":
            with_end = asyncio.create_task(reader.read(1))  # returns when the client hangs up
            for at in range(len(good) // 2, len(good)):
                done, _ = await asyncio.wait([with_end], timeout=drip_seconds / len(good))
                if done:
                    books.hung_up += 1
                    return False
                writer.write(good[at : at + 1])
            with_end.cancel()
        writer.transport.abort()
        return False
    status, extra, content = 200, f"x-request-id: {_key(headers)}\r\n" if fault == "echo" else "", good
    if fault in TURNED_AWAY or fault.startswith("status:"):
        name = fault.removeprefix("status:")
        status = int(name[:3])
        extra = "retry-after-ms: 30\r\n" if fault == "429_wait" else ""
        extra += "location: https://elsewhere.example/v1\r\n" if 300 <= status < 400 else ""
        shown = f"status {status} for {_key(headers)}"
        error = {"type": name[4:] or "some_error", "code": name[4:] or None, "message": shown}
        content = json.dumps({"type": "error", "error": error}).encode()
    elif fault == "truncated":
        content = good[: len(good) * 2 // 3]
    elif fault == "not_json":
        content = b"upstream connect error " + headers.get("authorization", "").encode()
    elif fault == "html":
        content = b"<html><body>502 Bad Gateway</body></html>"
    writer.write(_head(status, len(content), extra) + content)
    await writer.drain()
    return True


def _key(headers: dict[str, str]) -> str:
    """The key as it was sent."""
    return f"{headers.get('authorization', '')} {headers.get('x-api-key', '')}"


def _head(status: int, length: int, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        f"{'' if 'request-id' in extra else 'request-id: req-1' + chr(13) + chr(10)}{extra}\r\n"
    )
    return head.encode()


def _counts(prompt: str, fault: str) -> tuple[int, int]:
    prompt_tokens, reply_tokens = usage(prompt)
    if fault == "negative_usage":
        return prompt_tokens, -5
    if fault == "huge_usage":
        return prompt_tokens, 10**9
    if fault == "zero_usage":
        return 0, 0
    return prompt_tokens, reply_tokens


def _openai(body: dict[str, Any], prompt: str, text: str | None, fault: str) -> dict[str, Any]:
    prompt_tokens, reply_tokens = _counts(prompt, fault)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": reply_tokens}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
        "choices": [] if fault == "no_choice" else [choice],
    } | ({} if fault == "no_usage" else {"usage": counts})  # fmt: skip


def _anthropic(body: dict[str, Any], prompt: str, text: str | None, fault: str) -> dict[str, Any]:
    prompt_tokens, reply_tokens = _counts(prompt, fault)
    content = [] if text is None else [{"type": "text", "text": text}]
    counts = {"input_tokens": prompt_tokens, "output_tokens": reply_tokens}
    reply = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": content,
        "stop_reason": "end_turn", "stop_sequence": None, "usage": counts,
    }  # fmt: skip
    if fault == "no_usage":
        del reply["usage"]
    if fault == "no_choice":
        del reply["content"]
    return reply


@asynccontextmanager
async def saying(status: str, body: bytes = b"", *headers: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers everything alike; its address, and the first lines that it was sent."""
    lines: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines.append(head.split(b"\r\n")[0])
        length = f"content-length: {len(body)}"
        writer.write("\r\n".join([f"HTTP/1.1 {status}", length, "connection: close", *headers, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines
