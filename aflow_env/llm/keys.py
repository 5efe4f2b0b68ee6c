# SPDX-License-Identifier: Apache-2.0
"""API keys: read them, and leave them out of every written text.

A key comes from an environment variable or from a file that only its owner can read. It stays in an `ApiKey`, which has
no readable repr and cannot be pickled, so it reaches neither logs nor other processes. Texts from outside are scrubbed.
"""

import base64
import json
import os
import stat
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, quote_plus

from aflow_env.config import LLMConfig
from aflow_env.errors import ConfigError

HIDDEN = "[api key]"


class ApiKey:
    """A secret: `reveal` returns it, `scrub` takes it out of a text, nothing else shows it."""

    __slots__ = ("_spelled", "_value")

    def __init__(self, value: str) -> None:
        """Find the spellings that a server may use. Base64 depends on where in a text the key begins, modulo 3."""
        self._value = value
        forms = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
        for before in range(3) if len(value) >= 8 else ():
            whole = base64.b64encode(b"\0" * before + value.encode()).decode().rstrip("=")
            inner = whole[(0, 2, 3)[before] : len(whole) - ((len(value) + before) % 3 > 0)]
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
        self._spelled = sorted((form for form in forms if len(form) >= 4), key=len, reverse=True)

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key stays in the process that read it")

    def reveal(self) -> str:
        """Return the key itself: only for the call that sends it."""
        return self._value

    def scrub(self, text: str) -> str:
        """Return `text` without the key, also where it is percent-encoded, in base64 or inside JSON.

        Keys under 4 characters stay.
        """
        for form in self._spelled:
            text = text.replace(form, HIDDEN)
        return text


NO_KEY = ApiKey("no-key-needed")


def load_key(config: LLMConfig, role: str = "executor") -> ApiKey:
    """Return the key in the configured file, else in the environment variable.

    `NO_KEY` when neither is configured, or when the variable is not set and the server is reached by plain http (a
    local server). Raises ConfigError when a key is needed and missing, or its file is missing, empty or open to all.
    """
    if config.api_key_file:
        path = Path(config.api_key_file).expanduser()
        value, where = _read(path, role), f"{role}.api_key_file={path}"
    elif value := os.environ.get(config.api_key_variable or "", "").strip():
        where = f"the environment variable {config.api_key_variable}"
    elif config.api_key_variable and not (config.base_url or "").startswith("http://"):
        raise ConfigError(
            f"{role}.api_key_variable={config.api_key_variable}: this environment variable is not set, and "
            f"{config.kind} needs a key. Export it (export {config.api_key_variable}=...), or name a file of mode 600 "
            f"that holds the key in {role}.api_key_file, or set {role}.api_key_variable=null for a server that asks "
            "for none."
        )
    else:
        return NO_KEY
    if not (value and value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(f"{where} holds no API key: a key is one word of printable ASCII characters.")
    return ApiKey(value)


def _read(path: Path, role: str) -> str:
    """Return the text of `path`, which must be a regular file of ours that nobody else can read."""
    try:
        with path.open(encoding="ascii") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ConfigError(f"{role}.api_key_file={path} is not a regular file.")
            if facts.st_mode & 0o077 or facts.st_uid not in (os.geteuid(), 0):
                raise ConfigError(
                    f"{role}.api_key_file={path} can be read by others (mode {stat.S_IMODE(facts.st_mode):o}): "
                    f"own it and run chmod 600 {path}."
                )
            return file.read().strip()
    except OSError as error:
        raise ConfigError(f"{role}.api_key_file={path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:  # its text has the file's bytes; an empty key raises without them
        return ""
