"""An unpickler that builds tensors and plain containers, and calls nothing else that a file names."""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

DTYPES: Mapping[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}

# Names that a pickle holds only to act on the machine that opens it.
# fmt: off
_ACTING_MODULES = frozenset((
    "_pickle", "asyncio", "bdb", "code", "codeop", "ctypes", "http", "importlib", "io", "marshal", "multiprocessing",
    "nt", "os", "pdb", "pickle", "pip", "posix", "pty", "requests", "runpy", "shutil", "signal", "site", "socket",
    "subprocess", "sys", "tempfile", "threading", "timeit", "trace", "urllib", "webbrowser",
))
_ACTING_BUILTINS = frozenset((
    "__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "exit", "getattr",
    "globals", "help", "input", "locals", "open", "quit", "setattr", "vars",
))
# fmt: on
_TYPES: Mapping[str, Any] = {
    t.__name__: t for t in (set, frozenset, dict, list, tuple, int, float, complex, str, bool, slice)
}


class _OpaqueType(type):
    """The type of stand-in classes; a pickle cannot change them."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"the pickle sets {name!r} of a class")


class Opaque(metaclass=_OpaqueType):
    """A stand-in for an object that is neither a tensor nor a plain container; it accepts every operation."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Opaque:
        """Accept any arguments."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Keep no argument."""

    def __setstate__(self, state: Any) -> None:
        """Accept a state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Accept an item of a mapping."""

    def append(self, value: Any) -> None:
        """Accept an item of a list."""

    def extend(self, values: Any) -> None:
        """Accept items of a list."""

    def add(self, value: Any) -> None:
        """Accept an item of a set."""


class ScriptModule(Opaque):
    """A module of a TorchScript archive: it has the attributes and none of the code."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Builder:
    """A function that a pickle may call and cannot change.

    Args:
        call: The function.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return object.__getattribute__(self, "_call")(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"the pickle sets {name!r} of a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the pickle sets the state of a function")


class Storage:
    """The numbers that tensors are views of.

    Args:
        values: The numbers as a one-dimensional tensor.
    """

    __slots__ = ("values",)

    def __init__(self, values: Any) -> None:
        self.values = values


class RestrictedUnpickler(pickle.Unpickler):
    """Reads one pickle. It looks up every global in a closed table; all others become stand-ins and are noted.

    Args:
        file: The file, positioned at the start of the pickle.
        load_storage: A function from torch's persistent id, a tuple, to a :class:`Storage`.
        encoding: The encoding of strings that Python 2 wrote as bytes; ``latin1`` keeps the bytes of arrays.

    Attributes:
        code: Names in the pickle that would act on the machine, such as ``posix.system``; none was called.
        unknown: Names in the pickle of other classes and functions, such as ``argparse.Namespace``; none was called.
    """

    def __init__(self, file: BinaryIO, load_storage: Callable[[Any], Storage], *, encoding: str = "latin1") -> None:
        super().__init__(file, encoding=encoding)
        self.code: list[str] = []
        self.unknown: list[str] = []
        self._load_storage = load_storage
        self._known = _builders()
        self._opaque: dict[str, _OpaqueType] = {}

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage of torch's persistent id."""
        return self._load_storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        """Return the builder, plain type or stand-in for a name; never the object itself where it could act."""
        # Pickles up to protocol 2 use Python 2's names.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if module == "builtins" and name in _TYPES:
            return _TYPES[name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in DTYPES:
            return DTYPES[name]
        if module == "torch" and (dtype := _dtype(name)) is not None:
            return dtype
        if full not in self._opaque:
            self._note(module, name)
            base = ScriptModule if module.split(".")[0] == "__torch__" else Opaque
            self._opaque[full] = _OpaqueType(full, (base,), {})
        return self._opaque[full]

    def _note(self, module: str, name: str) -> None:
        root = module.split(".")[0]
        if root in _ACTING_MODULES or (root == "builtins" and name in _ACTING_BUILTINS):
            self.code.append(f"{module}.{name}")
        elif root not in ("__torch__", "numpy"):  # numpy's arrays and scalars are data, and no weight is among them
            self.unknown.append(f"{module}.{name}")


def _dtype(name: str) -> Any:
    import torch

    found = vars(torch).get(name)  # not getattr, which imports some of torch's modules on demand
    return found if isinstance(found, torch.dtype) else None


def _builders() -> dict[str, Any]:
    """Return the closed table: the names in torch's checkpoints, and what is done instead of calling them."""
    tensor, parameter, first = Builder(_tensor), Builder(_first_argument), Builder(_first_argument)
    found: dict[str, Any] = {
        "builtins.object": Opaque,
        "copyreg._reconstructor": Builder(_new_object),
        "collections.OrderedDict": OrderedDict,
        "collections.defaultdict": Builder(lambda *_: {}),
        "collections.Counter": Builder(lambda counts=(): dict(counts)),
        "_codecs.encode": Builder(_latin1_bytes),
        "torch.Size": Builder(lambda sizes=(): tuple(sizes)),
        "torch.device": Builder(lambda *parts: ":".join(map(str, parts))),
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_tensor_v3": Builder(_tensor_of_bytes),
        "torch._utils._rebuild_parameter": parameter,
        "torch._utils._rebuild_parameter_with_state": parameter,
        "torch.jit._pickle.restore_type_tag": first,
    }
    for kind in ("int", "double", "bool", "tensor"):
        found[f"torch.jit._pickle.build_{kind}list"] = first
    return found


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    """Return a view of a storage; torch refuses a view that reaches outside."""
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    view = storage.values.as_strided(tuple(size), tuple(stride), offset)
    if view.numel() > storage.values.numel():
        raise pickle.UnpicklingError(f"a tensor of {view.numel():,} numbers over {storage.values.numel():,} stored")
    return view


def _tensor_of_bytes(storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any) -> Any:
    """Return a view of an untyped storage."""
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _tensor(Storage(storage.values.view(dtype)), offset, size, stride)


def _first_argument(value: Any, *_: Any) -> Any:
    return value


def _latin1_bytes(text: Any, encoding: Any = "latin1") -> bytes:
    """Return the bytes that protocol 2 writes as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


def _new_object(kind: Any, *_: Any) -> Any:
    """Return what protocols 0 and 1 make for a class: a stand-in, or an empty container."""
    if isinstance(kind, type) and (issubclass(kind, Opaque) or kind in (dict, list, set, OrderedDict)):
        return kind()
    raise pickle.UnpicklingError(f"an object of {kind!r}")
