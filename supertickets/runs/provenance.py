"""What produced a result: the code, the data that ships with it, library versions, commit and device."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("supertickets", "torch", "transformers", "tokenizers", "numpy", "scipy", "pandas", "matplotlib")


@cache
def code_fingerprint() -> str:
    """Sha256 (hex) over the package's .py files, names and contents: changes when any line of the package does."""
    return _digest_files(PACKAGE, ("*.py",))


@cache
def data_fingerprint() -> str:
    """Sha256 (hex) over what else ships: the lab's encoders, the paper's tables, and a checkout's recorded results."""
    results = _digest_files(PACKAGE.parent / "book/results", ("*.json", "*.zip"))  # of nothing in an installed package
    return _digest_files(PACKAGE, ("*.json", "*.html", "*.safetensors", "*.txt", "*.npz")) + results


def _digest_files(root: Path, patterns: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in root.rglob(pattern)}):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def commit_id(folder: Path) -> str:
    """The git commit of a folder, with "+changes" where the working tree differs from it; "unknown" outside git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD")[:12] + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def device_name() -> str:
    """The device new tensors of a run would go to, in words."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    fast = getattr(torch.cpu, "get_capabilities", dict)()
    kernels = next((name for name in ("amx_bf16", "avx512_bf16") if fast.get(name)), "no bf16")  # sums differ by them
    kind = torch.backends.cpu.get_cpu_capability()
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores, {_maker()}, {kind}, {kernels})"


def _maker() -> str:
    """Who made the processor, whose kernels differ where capabilities do not: runs of MPNet did."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(named, platform.processor() or "unknown")


def setting(steps: str = "") -> dict[str, str]:
    """What a run's numbers depend on beside its spec: the libraries, the device and the number of threads.

    ``steps`` says how training steps were carried out, where there are several ways (on a GPU).
    """
    import torch

    found = {**library_versions(), "device": device_name(), "threads": str(torch.get_num_threads())}
    return found | ({"steps": steps} if steps else {})
