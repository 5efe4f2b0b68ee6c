# SPDX-License-Identifier: Apache-2.0
"""A local server that speaks Anthropic's Message Batches: batches are made, stay in progress, end, and have results."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.llm.server import Model, answer, usage

NOW = "2026-11-22T00:00:00Z"


@dataclass
class BatchServer:
    """`outcome` says how the n-th attempt at a prompt ends: "" is a message, else an error's type or "expired"."""

    model: Model = answer
    outcome: Callable[[str, int], str] = lambda prompt, attempt: ""
    open: bool = True
    address: str = ""
    batches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    polled: threading.Event = field(default_factory=threading.Event)

    def make(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        name = f"msgbatch_{len(self.batches)}"
        self.batches[name] = requests
        self.results[name] = "".join(json.dumps(self._result(each)) + "\n" for each in reversed(requests))
        return self.state(name)

    def state(self, name: str) -> dict[str, Any]:
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        return {
            "id": name, "type": "message_batch", "created_at": NOW, "expires_at": NOW, "request_counts": counts,
            "processing_status": "ended" if self.open else "in_progress", "ended_at": NOW if self.open else None,
            "results_url": f"{self.address}/v1/messages/batches/{name}/results" if self.open else None,
        }  # fmt: skip

    def _result(self, request: dict[str, Any]) -> dict[str, Any]:
        body = request["params"]
        prompt = body["messages"][-1]["content"][0]["text"]
        outcome = self.outcome(prompt, self.attempts[prompt])
        self.attempts[prompt] += 1
        if outcome in ("expired", "canceled"):
            return {"custom_id": request["custom_id"], "result": {"type": outcome}}
        if outcome:
            error = {"type": "error", "error": {"type": outcome, "message": f"it is {outcome}"}}
            return {"custom_id": request["custom_id"], "result": {"type": "errored", "error": error}}
        fresh, reply = usage(prompt)
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
            "content": [{"type": "text", "text": self.model(prompt)}], "stop_sequence": None,
            "usage": {"input_tokens": fresh, "output_tokens": reply},
        }  # fmt: skip
        return {"custom_id": request["custom_id"], "result": {"type": "succeeded", "message": message}}


@contextmanager
def serve_batches(server: BatchServer) -> Iterator[BatchServer]:
    """Run it on a free port, in threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._say(json.dumps(server.make(body["requests"])))

        def do_GET(self) -> None:
            name = self.path.split("/")[4]
            server.polled.set()
            self._say(server.results[name] if self.path.endswith("/results") else json.dumps(server.state(name)))

        def _say(self, text: str) -> None:
            content = text.encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
