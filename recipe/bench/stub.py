# SPDX-License-Identifier: Apache-2.0
"""A SIMULATED chat-completions server in a process of its own: every request is answered after the same latency.

No model is behind it: each reply is a short text that says SIMULATED and ends with a number drawn from the request. It
does as little as a server can, so that a benchmark on one machine measures the client. `serving(0.2)` starts one and
yields its base_url.
"""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

MODEL = "SIMULATED"
REPLY = json.dumps(
    {
        "id": "SIMULATED",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "SIMULATED: it is plain that the answer is 0123456789."},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140},
    }
).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(REPLY)}\r\n\r\n".encode()


class Exchange(asyncio.Protocol):
    """One keep-alive connection: whole requests in, the reply `latency` seconds later."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if not end or len(rest) < length:
                return
            number = b"%010d" % zlib.crc32(rest[:length])
            self._buffer = rest[length:]
            reply = HEAD + REPLY.replace(b"0123456789", number)
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, reply)


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """Start the server on a free port, yield its base_url, end it."""
    command = [sys.executable, "-m", "recipe.bench.stub", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def main(latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Exchange(latency), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
