# SPDX-License-Identifier: Apache-2.0
"""The base of all nodes of the config: a strict section, the kinds of values, and the checks of a request's parts."""

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MANY = 1_000_000  # the most of anything that a run counts one by one: rounds, problems, workers, megabytes
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, le=MANY)]
Seconds = Annotated[float, Field(gt=0.0, le=100 * MANY)]
Count = Annotated[int, Field(ge=1, le=MANY)]
CountOrZero = Annotated[int, Field(ge=0, le=MANY)]
Total = Annotated[int, Field(ge=0, le=1000 * MANY**2)]  # a ceiling of a sum: tokens, calls
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # a number that SQLite can store
Place = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)]
"""The path of a file or a folder. `~` is the user's home."""


class Section(BaseModel):
    """A node of the config: frozen, strict about unknown keys, and without infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


KEY_NAMES = {
    *("authorization", "proxy-authorization", "cookie", "api-key", "apikey", "x-api-key", "x-goog-api-key", "key"),
    *("token", "access-token", "secret", "password", "subscription-key", "ocp-apim-subscription-key"),
}
KEY_VALUE = re.compile(
    r"(?i)(bearer|basic) \S|(sk|rk|pk|gsk|hf|xai|ghp|nvapi|pplx)[-_][\w-]{16}|AIza\w{20}|eyJ[\w-]{20}"
)
KEY_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")  # environment variables with such a name have secrets
OURS = {
    *("model", "messages", "system", "stream", "n", "seed", "temperature", "top_p", "max_tokens"),
    *("max_completion_tokens", "response_format", "reasoning_effort", "stop", "stop_sequences"),
    *("logprobs", "top_logprobs", "output_config"),
}
"""Parts of a request's body that other keys of the config decide."""


def check_address(url: str) -> str:
    """Return the URL. Raises ValueError unless it is http(s)://HOST[:PORT][/PATH] and nothing more."""
    if "@" in url or "?" in url:
        raise ValueError(
            "base_url carries a password or a query: take keys from the environment, and write a query (Azure's "
            "api-version) as query={api-version: ...}"
        )
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.fragment
    except ValueError:  # a port that is no number, or above 65535
        whole = False
    if not whole or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(
            f"base_url={url!r} is no address: write http://HOST:PORT/PATH, with a port of 1 to 65535, e.g. "
            "http://localhost:8000/v1"
        )
    return url


Address = Annotated[str, AfterValidator(check_address)]


def check_extras(headers: dict[str, str], query: dict[str, str], body: dict[str, Any]) -> None:
    """Check the user's parts of each request. Raises ValueError that names the key and never shows a secret."""
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not (value.isascii() and value.isprintable()):
            raise ValueError(f"headers: {name!r} is no header of printable ASCII characters")
    if taken := sorted(OURS & body.keys()):
        raise ValueError(
            f"extra_body.{taken[0]}: the request's {taken[0]} is decided by other keys (model, temperature, top_p, "
            "max_tokens, stop, send_seed, effort, structured): set those, and leave it out of extra_body"
        )
    secrets = {value for name, value in os.environ.items() if KEY_VARIABLE.search(name) and len(value) >= 8}
    for place, node in (("headers", headers), ("query", query), ("extra_body", body)):
        for path, value in _texts(node, place):
            if is_secret(path, value) or value in secrets:
                raise ValueError(
                    f"{path} holds a key, and a config is stored: put the key into the environment, name the variable "
                    "in api_key_variable, and the header by api_key_header=api-key (Azure)"
                )


def is_secret(path: str, value: str) -> bool:
    """Return whether the name or the look of a value is a secret's."""
    name = path.rpartition(".")[2].lower().replace("_", "-")
    return name in KEY_NAMES or KEY_VALUE.match(value) is not None


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _texts(value, f"{path}.{name}")
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, path)
    elif isinstance(node, str):
        yield path, node
