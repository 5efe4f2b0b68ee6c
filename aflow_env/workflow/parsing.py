# SPDX-License-Identifier: Apache-2.0
"""Read an LLM's reply: thinking, XML-like or JSON fields, fenced code, with common mistakes in them.

Every function takes linear time for any text and raises nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_THINKING = re.compile(r"<(/?)think(?:ing)?\s*>", re.IGNORECASE)
_MARKER = r"[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?"  # a fence may follow a list item's marker
_FENCE = re.compile(rf"({_MARKER})(`{{3,}}|~{{3,}})([^`\n]*)")
_FENCE_AFTER_WORDS = re.compile(r"[^`\n]*\S()[ \t]+(`{3,})(py\w*)[ \t]*", re.IGNORECASE)
_DECODER = json.JSONDecoder(strict=False)  # models write raw line breaks inside strings
JSON_FAILURES = 500
_OBJECT = re.compile(r"\{(?=\s*[\"}])")
_ESCAPE = re.compile(r'\\(["\\/bfnrtu])?')
_LATEX = re.compile(r"([\b\f])|(?<![\n\t])([\t\r])(?=[a-z]{2})")  # \boxed, \frac, \text, \right as JSON reads them
_DEFINITION = re.compile(
    r"(?:async[ \t]+)?def[ \t]+\w+[ \t]*[(\[]|class[ \t]+\w+[ \t]*[(\[:]|@\w"
    r"|from[ \t]+[\w.]+[ \t]+import\b|import[ \t]+[\w.]+(?:[ \t]+as[ \t]+\w+)?(?:[ \t]*,.*)?[ \t]*;?[ \t]*(?:#.*)?$"
)
_STATEMENT = re.compile(  # at the start of a line that is no prose
    r"[\])}#@]|\"\"\"|'{3}|[\w.]+(?:[ \t]*,[ \t]*[\w.]+)*[ \t]*(?::[^=]*)?(?:[-+*/|&%@^<>]{0,2}=(?!=)|\[.*\][ \t]*=)"
    r"|[A-Za-z_][\w.]*[(\[].*[])}(\[{,:\\][ \t]*(?:#.*)?$|(?:assert|raise|del|pass|global)\b"
    r"|(?:if|for|while|with|try|except|finally|else|elif|async|match)\b.*:[ \t]*(?:#.*)?$"
)


def strip_thinking(text: str) -> str:
    """Cut each `<think>...</think>` (or `<thinking>`, in any case), all before a lone end and after a lone begin."""
    kept: list[str] = []
    position, thinking = 0, False
    for tag in _THINKING.finditer(text):
        if not tag[1]:
            kept += [] if thinking else [text[position : tag.start()]]
            thinking = True
        else:
            kept = kept if thinking else []
            position, thinking = tag.end(), False
    return "".join(kept if thinking else [*kept, text[position:]]).strip()


def fields(text: str, *names: str) -> dict[str, str]:
    """Return the stripped content of each named field that is present, e.g. fields(reply, "thought", "answer").

    They are read from a reply that is one JSON object with such fields, fenced or not (structured outputs), else from
    tags, else from the last JSON object with such fields.
    """
    if found := _json_fields(strip_fence(text), names) or _tags(text, *names):
        return found
    objects = [_texts(item, names) for item in json_objects(text)]
    return next(filter(None, reversed(objects)), {})


def _tags(text: str, *names: str) -> dict[str, str]:
    """Return the stripped content of each named tag that is present, in upper or lower case.

    The last innermost pair of a name counts, because models mention a tag before they use it. A tag that is never
    closed reaches to the next named tag or to the end.
    """
    found = list(re.finditer(rf"<(/?)({'|'.join(map(re.escape, names))})\s*>", text, re.IGNORECASE))
    closed: dict[str, str] = {}
    unclosed: dict[str, str] = {}
    opened: dict[str, int] = {}
    for index, tag in enumerate(found):
        name = tag[2].lower()
        if not tag[1]:
            end = found[index + 1].start() if index + 1 < len(found) else len(text)
            opened[name] = tag.end()
            unclosed[name] = text[tag.end() : end].strip()
        elif name in opened:
            closed[name] = text[opened.pop(name) : tag.start()].strip()
    return unclosed | closed


def _json_fields(text: str, names: Sequence[str]) -> dict[str, str]:
    """Return the named fields of a reply that is one JSON object, as texts; {} for any other reply."""
    text = _escaped(text.strip())
    if not (text.startswith("{") and text.endswith("}")):
        return {}
    try:
        found, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return _texts(found, names) if end == len(text) else {}


def json_objects(text: str) -> Iterator[Mapping[str, object]]:
    """Yield the JSON objects in the text, in order, until JSON_FAILURES reads have failed.

    The limit keeps the time linear: the error of a failed read counts all lines before it.
    """
    text, position, failures = _escaped(text), 0, 0
    while failures < JSON_FAILURES and (start := _OBJECT.search(text, position)):
        try:
            found, position = _DECODER.raw_decode(text, start.start())
            yield found
        except json.JSONDecodeError as error:
            position, failures = max(start.end(), error.pos), failures + 1
        except (ValueError, RecursionError):  # a number of thousands of digits; nesting without end
            return


def _escaped(text: str) -> str:
    """Double each backslash that begins no escape of JSON (`\\sqrt`)."""
    return _ESCAPE.sub(lambda found: found[0] if found[1] else "\\\\", text)


def _texts(found: object, names: Sequence[str]) -> dict[str, str]:
    """Return the named values, except null, of an object, or of the first object inside it that has any."""
    queue = [found]
    for item in queue:
        if isinstance(item, Mapping):
            low = {str(key).lower(): value for key, value in item.items() if value is not None}
            if texts := {name: _with_latex(low[name]) for name in names if name in low}:
                return texts
            queue += item.values()
        elif isinstance(item, list):
            queue += item
    return {}


def _with_latex(value: object) -> str:
    """Return a value as text, with LaTeX restored, e.g. `\\frac` for a form feed before "rac"."""
    if not isinstance(value, str):
        return _dumped(value)
    return _LATEX.sub(lambda found: repr(found[0])[1:-1].replace("x08", "b").replace("x0c", "f"), value).strip()


def as_text(value: object) -> str:
    """Return a JSON value as text that UTF-8 can encode. Half a surrogate pair becomes a question mark."""
    return (value if isinstance(value, str) else _dumped(value)).encode("utf-8", "replace").decode("utf-8")


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Return each fenced block, and whether it is closed.

    A bare fence like its own closes a block, and so does a line that ends in one. A block with an indented fence loses
    the indentation that all of its lines share.
    """
    blocks: list[tuple[str, bool]] = []
    fence, indent, lines = "", 0, [""]
    for line in text.split("\n"):
        found = _FENCE.match(line) if fence else _FENCE.match(line) or _FENCE_AFTER_WORDS.fullmatch(line)
        if not fence:
            if found:
                fence, indent, lines = found[2], len(found[1]), []
            continue
        closes = found is not None and found[2].startswith(fence) and not found[3].strip()
        if closes or (line.rstrip().endswith(fence) and line.strip(" \t`~")):
            lines += [] if closes else [line.rstrip().removesuffix(fence)]
            blocks.append((_without_indent(lines, indent), True))
            fence = ""
        else:
            lines.append(line)
    return [*blocks, (_without_indent(lines, indent), False)] if fence else blocks


def _without_indent(lines: Sequence[str], most: int) -> str:
    """Cut the indentation that all lines share, at most `most` characters of it."""
    shared = min((len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()), default=0)
    return "\n".join(line[min(shared, most) :] if line.strip() else line.strip(" \t") for line in lines)


def strip_fence(text: str) -> str:
    """Cut the code fence around a text that begins with one. A fence inside (in a string, say) stays."""
    text = text.strip()
    lines = text.split("\n")
    opening = _FENCE.match(lines[0])
    if not opening:
        return text
    ends = [i for i, line in enumerate(lines) if i and line.strip() == opening[2]]
    return "\n".join(lines[1 : ends[-1] if ends else len(lines)]).strip()


def extract_code(text: str, function: str = "") -> str:
    """Return the Python code in a reply; "" for an empty reply.

    It is read from <code>, or from the whole reply if only that defines the function: the last closed fenced block that
    defines the function, else the last such block, else the code outside of fences, else the longest block, else the
    whole text. Byte order marks and carriage returns are dropped.
    """
    text = text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")
    tagged = (_json_fields(strip_fence(text), ("code",)) or _tags(text, "code")).get("code")
    found = [_code_of(source, function) for source in (tagged, text) if source is not None]
    return next((code for code in found if defines(code, function)), found[0])


def defines(code: str, function: str) -> bool:
    """Return whether a line of `code` defines the function or class, or assigns it; False without a name."""
    name = re.escape(function)
    definition = rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*(?::[^=\n]*)?=(?!=)"
    return bool(function) and re.search(definition, code, re.MULTILINE) is not None


def _code_of(text: str, function: str) -> str:
    blocks = [(_outdented(block, function), closed) for block, closed in _blocks(text)]
    defining = sorted((pair for pair in blocks if defines(pair[0], function)), key=lambda pair: pair[1])
    if defining:
        return defining[-1][0].strip("\n")
    bare = _bare_code(text, function)
    longest = max((block for block, _ in blocks), key=len, default="")
    if bare or longest.strip():
        return bare or longest.strip("\n")
    lines = [line for line in text.split("\n") if not _FENCE.match(line)]
    return _outdented("\n".join(lines), function).strip("\n").rstrip()


def _outdented(block: str, function: str) -> str:
    """Cut the indentation of a block whose first definition is indented too."""
    is_module = defines(block, function) and _DEFINITION.match(block.lstrip())
    return _without_indent(block.split("\n"), len(block)) if is_module else block


def _bare_code(text: str, function: str) -> str:
    """Return the code outside of fences, up to the last run of lines that defines the function; "" without one.

    A run begins with a definition or statement. Lines that are blank, indented or in a long string continue it.
    """
    runs: list[list[str]] = []
    inside, quoted = False, False
    for line in text.split("\n"):
        is_code = _DEFINITION.match(line) or _STATEMENT.match(line)
        if quoted or (not _FENCE.match(line) and (is_code or (inside and (not line or line[0].isspace())))):
            runs += [] if inside else [[]]
            inside = True
            runs[-1].append(line)
        else:
            inside = False
        quoted = inside and quoted != ((line.count('"""') + line.count("'''")) % 2 == 1)
    found = ["\n".join(run).strip("\n") for run in runs if any(map(_DEFINITION.match, run))]
    last = next((index for index in reversed(range(len(found))) if defines(found[index], function)), None)
    if last is None:
        return ""
    return "\n\n".join([*(code for code in found[:last] if not defines(code, function)), found[last]])


def letter_index(text: str, count: int) -> int | None:
    """Return the index (A = 0) of the chosen solution, None unless exactly one of the `count` letters is named.

    A letter counts as a word of its own, in <solution_letter> in upper or lower case, elsewhere in upper case.
    """
    tagged = fields(text, "solution_letter").get("solution_letter")
    letters = re.findall(r"(?<![A-Za-z])[A-Z](?![A-Za-z])", text if tagged is None else tagged.upper())
    chosen = {ord(letter) - ord("A") for letter in letters} & set(range(count))
    return chosen.pop() if len(chosen) == 1 else None
