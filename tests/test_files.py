# SPDX-License-Identifier: Apache-2.0
"""Files that a user names: replaced whole, and only where they are files."""

import os
import threading
from pathlib import Path

from aflow_env.files import write_text


def test_a_link_and_a_pipe_stay_what_they_are(tmp_path: Path) -> None:
    """`--csv /dev/stdout` writes there, and makes no file of it; a link goes on to name its file."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=write_text, args=(tmp_path / "pipe", "row"), daemon=True)
    writer.start()
    assert (tmp_path / "pipe").read_text() == "row"
    writer.join(timeout=30)
    assert (tmp_path / "pipe").is_fifo()
