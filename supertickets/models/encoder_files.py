"""Files of encoders by name.

An encoder is a folder of ``config.json`` + safetensors + tokenizer: one of ours (``lab-base``), a local folder, or a
snapshot of a Hub repository. Its ``revision`` is a hash of those files, so a run's id follows the weights and not the
name.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from supertickets import lab
from supertickets.errors import SuperticketsError
from supertickets.models.published import PUBLISHED, file_sha256, hub_snapshot, published_folder

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
