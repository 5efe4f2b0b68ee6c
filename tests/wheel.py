# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.wheel`: the package as a user gets it, without this checkout, verl, Ray, vLLM or torch.

Builds the sdist, and the wheel from the sdist alone; looks into both; installs the wheel with its core dependencies (at
the versions of requirements/cpu.txt) into an empty environment; and there imports all but training and reports,
searches, shows and evaluates from an empty folder. Needs the package index. `make wheel-test` runs it; it is no part of
the suite, since it installs.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "cpu.txt"
IN_WHEEL = (
    "aflow_env/__init__.py",
    "aflow_env/py.typed",
    "aflow_env/conf/aflow_gigpo.yaml",
    "aflow_env/conf/aflow/default.yaml",
    "aflow_env/report/html/templates/report.html.j2",
    "hydra_plugins/aflow_process_launcher/__init__.py",
)
IN_SDIST = (
    "pyproject.toml",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "mkdocs.yml",
    "conf/aflow/default.yaml",
)
IMPORT_CORE = """
import aflow_env, importlib, pkgutil
for room in "workflow tasks llm sandbox evaluation store search sweep cli".split():
    package = importlib.import_module(f"aflow_env.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(("__main__", "cli.use.serving")):  # serving needs the extra of that name
            importlib.import_module(module.name)
print(aflow_env.__file__)
"""
NOT_INSTALLED = ("verl", "torch", "ray", "vllm", "transformers", "wandb")
SEARCH = ("rl_weight=0", "proposer=random", "rounds=2", "task.validate_size=8", "task.test_size=8", "run_dir=run")


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """What the command prints on stdout; its environment holds no way back into the checkout."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True)
    if done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist of the checkout, and the wheel that comes of the sdist."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT, check=True)
    sdist = next(folder.glob("*.tar.gz"))
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    source = next((folder / "unpacked").iterdir())
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=source, check=True)
    return sdist, next(folder.glob("*.whl"))


def check_contents(sdist: Path, wheel: Path) -> None:
    """All that belongs in is in, and nothing else of the checkout is in the wheel."""
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert not (missing := set(IN_SDIST) - inside), f"not in the sdist: {missing}"
    names = zipfile.ZipFile(wheel).namelist()
    assert not (missing := set(IN_WHEEL) - set(names)), f"not in the wheel: {missing}"
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names), "no licence in the wheel"
    other = {name for name in names if not name.startswith(("aflow_env/", "hydra_plugins/aflow_", "aflow_env-"))}
    assert not other, f"does not belong into the wheel: {other}"
    packed = {name.removeprefix("aflow_env/") for name in names if name.startswith("aflow_env/conf/")}
    ours = {
        str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == ours, f"conf/ differs: {packed ^ ours}"
    print(
        f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1024:,.0f} KiB; {sdist.name}: {len(inside)} files"
    )


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with the wheel and its core dependencies alone; its bin folder."""
    venv.create(folder, with_pip=True)
    pip = (folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-qq")
    subprocess.run([*pip, "install", "--constraint", PINS, wheel], check=True)
    subprocess.run([*pip, "check"], check=True)
    return folder / "bin"


def smoke(bin_folder: Path, elsewhere: Path) -> None:
    """The verbs that a new user begins with, in an empty folder."""
    absent = f"import importlib.util as u; print([n for n in {NOT_INSTALLED} if u.find_spec(n)])"
    assert run(bin_folder / "python", "-c", absent, cwd=elsewhere).strip() == "[]", "the environment is not clean"
    tool = bin_folder / "aflow-env"
    findings = json.loads(run(tool, "doctor", "--search", "--json", cwd=elsewhere))["findings"]
    conf = next(each["said"] for each in findings if each["what"] == "config folder")
    assert Path(conf).is_relative_to(bin_folder.parent), f"the YAML files come from {conf}"
    print(run(tool, "search", *SEARCH, cwd=elsewhere))
    shown = json.loads(run(tool, "show", "run", "--json", cwd=elsewhere))
    assert len(shown["nodes"]) >= 1
    run(tool, "best", "run", "--out", "best", cwd=elsewhere)
    score = json.loads(run(tool, "evaluate", "best", "task.validate_size=8", "--json", cwd=elsewhere))["score"]
    assert score == shown["best"]["score"], "the best workflow scores the same again"
    where = run(bin_folder / "python", "-c", IMPORT_CORE, cwd=elsewhere)
    assert str(ROOT) not in where, f"the checkout is in use: {where}"
    files = (path for path in elsewhere.rglob("*") if path.is_file() and path.suffix in {".py", ".json", ".csv"})
    assert not any(str(ROOT) in path.read_text(errors="replace") for path in files), "a file names the checkout"


def main() -> None:
    """Build, look, install, use; the first thing that is wrong ends it with status 1."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sdist, wheel = build(folder)
        check_contents(sdist, wheel)
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        smoke(install(wheel, folder / "environment"), elsewhere)
    print("the wheel works on its own")


if __name__ == "__main__":
    main()
