# SPDX-License-Identifier: Apache-2.0
"""A copy of a run in a folder that this user cannot write, and a process that is not root."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def locked_copy(path: Path, *names: str) -> Iterator[Path]:
    """Yield the store in a copy of its folder with these files, which can only be read."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        for name in names:
            (Path(folder) / name).write_bytes(path.with_name(name).read_bytes())
        Path(folder).chmod(0o555)
        yield Path(folder) / path.name
        Path(folder).chmod(0o755)


def as_nobody(work: Callable[[], object]) -> str:
    """Return the repr of the result, or of the error, in a child that root's rights have left."""
    reads, writes = os.pipe()
    if not (child := os.fork()):
        try:
            if os.getuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            said = repr(work())
        except BaseException as error:
            said = repr(error)
        os.write(writes, said.encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
