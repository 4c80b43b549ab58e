"""Reads weights from files without executing code in them, and downloads them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, NoWeightsError
from harness.redaction import public_path

COUNTERS = "num_batches_tracked"
"""Last part of the names of batch norms' counters, which some files have and no network needs."""

SCALE = ".scale"
"""What is added to the name of a tensor of 8 bits for that of its factors."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. Formats and errors: `read_weights_and_author`."""
    return read_weights_and_author(path)[0]


def weight_names(path: str | Path) -> list[str]:
    """The names of the tensors of a file. Raises as `read_weights_and_author`."""
    if Path(path).suffix == ".safetensors" and Path(path).is_file():
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "pt") as file:
                return list(file.keys())
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
    return list(read_weights(path))


def read_weights_and_author(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a .pth, .pt, .safetensors or detectron2 .pkl file, by name, and the author that a .pkl states.

    A .pkl file is read by an unpickler that accepts arrays only.

    Raises:
        HarnessError: The file is missing or is no file of weights.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise HarnessError(f"no weights file at {path}")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dequantised(load_file(str(file))), ""
        if file.suffix == ".pkl":
            return _read_pickle(file)
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except HarnessError:
        raise
    except Exception as error:  # each reader raises errors of its own
        raise _unreadable(path, error) from error
    for key in ("model", "state_dict", "module"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise HarnessError(f"{path} holds no tensors by name")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}, ""


def dequantised(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, where NAME of 8-bit whole numbers is multiplied by NAME.scale, a factor for each index of axis 0.

    So are weights stored that were learned on painted cells (harness/training/painted_file.py).
    """
    found = dict(tensors)
    for name, value in tensors.items():
        if value.dtype == torch.int8 and name + SCALE in tensors:
            found[name] = value.float() * found.pop(name + SCALE).reshape(-1, *[1] * (value.dim() - 1))
    return found


def _unreadable(path: str | Path, error: Exception) -> HarnessError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return HarnessError(f"{path} cannot be read as weights: {first[:120]}")


def _read_pickle(file: Path) -> tuple[dict[str, Tensor], str]:
    import pickle

    import numpy as np

    class ArraysOnly(pickle.Unpickler):
        """detectron2's zoo files are pickles of numpy arrays. A pickle that names anything else is refused."""

        def find_class(self, module: str, name: str) -> Any:
            allowed = {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict")}
            if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("_reconstruct", "scalar"):
                return getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
            if (module, name) == ("_codecs", "encode"):
                # pickles of protocol 2 store the bytes of an array as text
                return partial(_encode_latin1, file.name)
            if (module, name) in allowed:
                return super().find_class(module, name)
            raise HarnessError(f"{file.name} asks to load {module}.{name}, which weights do not need; not opened")

    with file.open("rb") as stream:
        content = ArraysOnly(stream, encoding="latin1").load()
    author = str(content.get("__author__", "")) if isinstance(content, Mapping) else ""
    for key in ("model", "blobs"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        return {}, author
    return {str(k): torch.from_numpy(np.asarray(v)) for k, v in content.items() if isinstance(v, np.ndarray)}, author


def _encode_latin1(file: str, text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise HarnessError(f"{file} holds text in encoding {encoding!r}, which weights do not need; not opened")
    return text.encode("latin1")


def load_matching(module: nn.Module, weights: Mapping[str, Tensor], source: str, may_differ: tuple[str, ...]) -> None:
    """Copy weights into the module by name.

    Args:
        module: Filled in place. Weights that it does not have are ignored.
        weights: By name.
        source: The file, for the error message.
        may_differ: Parts of the names of tensors that may be missing or have another shape: class heads.

    Raises:
        NoWeightsError: Any other tensor is missing or has another shape.
    """
    state = module.state_dict()
    matching, wrong = {}, []
    for name, value in state.items():
        offered = weights.get(name)
        if offered is not None and offered.shape == value.shape:
            matching[name] = offered.to(value.dtype)
        elif not any(part in name for part in may_differ) and not name.endswith(COUNTERS):
            wrong.append(name)
    if wrong:
        raise NoWeightsError(
            f"{public_path(source)} does not fit this network: {len(wrong)} of {len(state)} tensors are missing or of "
            f"another shape, the first {wrong[0]!r}; give the weights of the same architecture, or --init scratch"
        )
    module.load_state_dict(matching, strict=False)


def match_by_order(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The weights under the module's names, for a file with other names and the same shapes in the same order.

    The file may hold more behind the module's last tensor, such as a classifier. Counters of batches are left out.

    Args:
        module: Of the architecture of the file.
        weights: By name, in the order of their layers. safetensors files are not in this order.

    Returns:
        None where the shapes differ, or where a name that both have is at another place.
    """
    wanted = [(name, value.shape) for name, value in module.state_dict().items() if not name.endswith(COUNTERS)]
    offered = [(name, value) for name, value in weights.items() if not name.endswith(COUNTERS)]
    place = {name: index for index, (name, _) in enumerate(offered)}
    if len(offered) < len(wanted):
        return None
    for index, (name, shape) in enumerate(wanted):
        if offered[index][1].shape != shape or place.get(name, index) != index:
            return None
    return {name: value for (name, _), (_, value) in zip(wanted, offered, strict=False)}


def download_weights(url: str, what: str) -> Path:
    """Download weights into torch's cache, once, and return the path of the file.

    Args:
        url: Where they are.
        what: What they are, for the error message.

    Raises:
        HarnessError: The download failed.
    """
    from torch.hub import download_url_to_file, get_dir

    target = Path(get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(target), progress=False)
        except Exception as error:  # urllib, socket, ssl and http raise errors of their own
            raise HarnessError(
                f"the {what} weights could not be downloaded ({type(error).__name__}); "
                f"fetch {url} elsewhere and pass the file with --init KIND:FILE, or use --init scratch"
            ) from error
    return target
