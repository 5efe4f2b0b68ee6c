# SPDX-License-Identifier: Apache-2.0
"""Texts as a model, a server or an attacker may write them, and what a terminal would obey in a text."""

import unicodedata

from hypothesis import strategies as st

PIECES = (
    *("[/INST]", "[/red]", "[answer]", "[bold]", "[link=http://x]", ":free:", ":smile:", "\\[", "[@click=x()]"),
    *("\x1b[31m", "\x1b]0;owned\x07", "\x1b]8;;http://x\x1b\\", "\x9b2J", "\x00", "\r", "\x08", "\x7f", "\x85", "\x1c"),
    *("\u202e", "\u2066", "\u200f", "\u061c", "\u2028", "\u2029", "\ufeff", "\ud800", "\udfff", "\U000e0041"),
    *("</script><script>alert(1)</script>", "<!--", "]]>", "<img src=x onerror=alert(1)>", "\" onmouseover='x", "&lt;"),
    *(
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "'",
        '"',
        ",",
        ";",
        "$x^$",
        "$\\frac{",
        "${x}",
    ),
    *(
        "{{ 7*7 }}",
        "{% raw %}",
        "%s",
        "{0}",
        "日本語",
        "é",
        "👩‍💻",
        "̈" * 50,
        "\u00a0",
        "\u3000",
        " " * 90,
        "x" * 200,
        "\n\n",
    ),
)
NASTY = "".join(PIECES) * 15
"""More than 10,000 characters of all of it."""
ANY_TEXT = st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)


def obeyed(text: str) -> list[str]:
    """The characters of a text that a terminal or a browser obeys instead of showing; line feeds and tabs are none."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [c for c in text if unicodedata.category(c) in kinds and c not in "\n\t\u200c\u200d"]
