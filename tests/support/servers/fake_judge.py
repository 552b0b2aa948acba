"""A local server with the chat endpoint of OpenAI's API, which marks images or misbehaves by a script."""

import base64
import hashlib
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from configs.sections.judge import JudgeConfig

KEY = "sk-very-secret-0123456789"


def mark(image: np.ndarray, question: str) -> float:
    """A mark 0..10 that depends on the pixels and on the words."""
    words = int.from_bytes(hashlib.sha256(question.encode()).digest()[:2], "big") / 65536
    return round(5 * float(image.mean()) / 255 + 5 * words, 3)


class FakeJudge:
    """Answers each request with the next behaviour of `script`, and with a mark once the script is empty.

    A behaviour is "ok", a status, a tuple of status, headers and body, "hang", "drip", "cut", or the text of an answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script: list[Any] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.usage: dict[str, int] | None = {"prompt_tokens": 1000, "completion_tokens": 10}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                judge._answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def settings(self, **changes: Any) -> JudgeConfig:
        """Settings for this server, with short waits and these changes."""
        quick: dict[str, Any] = {
            "url": self.url,
            "model": "judge-1",
            "back_off": 0.01,
            "requests_per_minute": 1e6,
            "timeout": 5.0,
            "cache": str(self.folder),
        }
        return JudgeConfig(**quick | changes)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.times.append(time.monotonic())
            behaviour = self.script.pop(0) if self.script else "ok"
        if behaviour == "hang":
            time.sleep(3)
        elif behaviour == "cut":
            self._send(handler, 200, {"Content-Length": "1000"}, b"{")
        elif behaviour == "drip":
            self._drip(handler)
        elif isinstance(behaviour, int):
            self._send(handler, behaviour, {}, b"trouble")
        elif isinstance(behaviour, tuple):
            status, headers, text = behaviour
            self._send(handler, status, headers, text.encode())
        else:
            text = str(self._mark(body)) if behaviour == "ok" else behaviour
            answer: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}}]}
            self._send(handler, 200, {}, json.dumps(answer | ({"usage": self.usage} if self.usage else {})).encode())

    @staticmethod
    def _mark(body: dict[str, Any]) -> float:
        text, picture = body["messages"][0]["content"]
        file = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
        return mark(np.asarray(Image.open(io.BytesIO(file))), text["text"])

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], raw: bytes) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(raw))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    @staticmethod
    def _drip(handler: BaseHTTPRequestHandler) -> None:
        """Send a byte every tenth of a second, so no read of the client waits long."""
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            for _ in range(30):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.1)
        except OSError:
            return
