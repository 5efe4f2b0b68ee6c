# SPDX-License-Identifier: Apache-2.0
"""A local server that answers as vLLM's OpenAI server does, with a made-up policy behind it.

The value question gets log-probabilities of a first token, the other question an edit. In a thread of its own, so that
a whole command can run against it.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Tops = list[tuple[str, float]]


@dataclass
class PolicyServer:
    """What the policy says: `predicts` (prompt -> tokens and probabilities), `edits` (prompt -> text).

    `context` is how many characters of prompt it takes.
    """

    predicts: Callable[[str], Tops] = lambda prompt: [("5", 0.9), ("Sure", 0.1)]
    edits: Callable[[str], str] = lambda prompt: "{}"
    context: int = 100_000
    address: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The value questions that were answered."""
        return [body for body in self.bodies if body.get("logprobs")]

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, body) of a chat completion."""
        prompt = "\n".join(message["content"] for message in body["messages"])
        if len(prompt) > self.context:
            text = f"This model's maximum context length is {self.context} tokens. However, you requested more."
            return 400, {"error": {"message": text, "type": "BadRequestError", "code": 400}}
        self.bodies.append(body)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
        if body.get("logprobs"):
            tops = self.predicts(prompt)[: body["top_logprobs"]]
            entries = [{"token": t, "logprob": math.log(p), "bytes": list(t.encode())} for t, p in tops]
            text = tops[0][0] if tops else "5"
            if tops:
                choice["logprobs"] = {"content": [{**entries[0], "top_logprobs": entries}]}
            choice["finish_reason"] = "length"
        else:
            text = self.edits(prompt)
        choice["message"] = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 9, "completion_tokens": 1 if body["max_tokens"] == 1 else 20, "total_tokens": 29}
        reply = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, {**reply, "choices": [choice], "usage": usage}


@contextmanager
def serve_policy(server: PolicyServer) -> Iterator[PolicyServer]:
    """Run it on a free port; `address` ends in /v1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, reply = server.answer(body) if self.path == "/v1/chat/completions" else (404, {})
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: tests look at `bodies`."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
