# SPDX-License-Identifier: Apache-2.0
"""Reading what a language model wrote: XML-like or JSON fields and fenced code, tolerant of what models get wrong.

Every function is total (any text has a defined result, never an exception) and linear in the text.
"""

import json
import re
from collections.abc import Sequence

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^`\n]*)")


def fields(text: str, *names: str) -> dict[str, str]:
    """The stripped content of each named tag that is present, e.g. fields(reply, "thought", "answer").

    Of several pairs of one name the last innermost counts (models talk about a tag before they use it). A tag that is
    never closed reaches to the next of the named tags or to the end. Tag names are matched without regard to case.
    A reply that is one JSON object of such fields and no others (structured outputs) is read as that.
    """
    if structured := json_fields(text, names):
        return structured
    tags = list(re.finditer(rf"<(/?)({'|'.join(map(re.escape, names))})\s*>", text, re.IGNORECASE))
    closed: dict[str, str] = {}
    unclosed: dict[str, str] = {}
    opened: dict[str, int] = {}
    for index, tag in enumerate(tags):
        name = tag[2].lower()
        if not tag[1]:
            end = tags[index + 1].start() if index + 1 < len(tags) else len(text)
            opened[name] = tag.end()
            unclosed[name] = text[tag.end() : end].strip()
        elif name in opened:
            closed[name] = text[opened.pop(name) : tag.start()].strip()
    return unclosed | closed


def json_fields(text: str, names: Sequence[str]) -> dict[str, str]:
    """The fields of a reply that is one JSON object with texts under these names alone; empty for any other reply."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not found.keys() <= set(names) or not all(isinstance(value, str) for value in found.values()):
        return {}
    return {name: value.strip() for name, value in found.items()}


def fenced_blocks(text: str) -> list[str]:
    """The contents of the fenced code blocks, in order; a block ends at a bare fence like its own, or at the end."""
    blocks: list[str] = []
    fence, lines = "", [""]
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not fence:
            if found:
                fence, lines = found[1], []
        elif found and found[1].startswith(fence) and not found[2].strip():
            blocks.append("\n".join(lines))
            fence = ""
        else:
            lines.append(line)
    return [*blocks, "\n".join(lines)] if fence else blocks


def strip_fence(text: str) -> str:
    """The text without the code fence around it, if it begins with one; a fence inside (in a string, say) stays."""
    text = text.strip()
    lines = text.split("\n")
    opening = _FENCE.match(lines[0])
    if not opening:
        return text
    ends = [i for i, line in enumerate(lines) if i and line.strip() == opening[1]]
    return "\n".join(lines[1 : ends[-1] if ends else len(lines)]).strip()


def extract_code(text: str, function: str = "") -> str:
    """The Python code in a reply (in its <code>, if it has one); an empty reply is the empty string.

    It is the last fenced block that defines the function, else the longest block, else all of it.
    """
    text = fields(text, "code").get("code", text)
    blocks = fenced_blocks(text)
    if not blocks:
        return text.strip()
    definition = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(function)}\b", re.MULTILINE)
    defining = [block for block in blocks if function and definition.search(block)]
    return (defining[-1] if defining else max(blocks, key=len)).strip("\n")


def letter_index(text: str, count: int) -> int | None:
    """The index (A = 0) of the solution that a reply chose, or None unless it names exactly one of the `count` letters.

    Letters stand alone: in <solution_letter> in either case, elsewhere as capitals only.
    """
    tagged = fields(text, "solution_letter").get("solution_letter")
    letters = re.findall(r"(?<![A-Za-z])[A-Z](?![A-Za-z])", text if tagged is None else tagged.upper())
    chosen = {ord(letter) - ord("A") for letter in letters} & set(range(count))
    return chosen.pop() if len(chosen) == 1 else None
