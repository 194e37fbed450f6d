"""Models of open_clip, built from an architecture and filled with tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capreward.encoders.checkpoints.nonfinite import refuse_nonfinite
from capreward.encoders.model.backend import import_open_clip
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor, nn

PRECISIONS = ("fp32", "fp16", "bf16")
SCALE = "logit_scale"
# The smallest image tower, for weights without one.
_STAND_IN = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}
_MASKS = frozenset(("attn_mask", "text.attn_mask"))  # the only values of the native towers that no file holds


def build_model(
    model_cfg: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str, precision: str = "fp32"
) -> Any:
    """Build open_clip's model of an architecture and fill it with tensors.

    The global random generator does not change: a native model is only filled, never initialised. If ``tensors``
    lack ``logit_scale``, which no feature depends on, the model's scale is NaN, and so is all that is computed with it.

    Args:
        model_cfg: The architecture as open_clip writes it, with ``quick_gelu``; an empty ``vision_cfg`` means no image
            tower.
        tensors: All tensors, under open_clip's names.
        where: The name of the source in messages.
        precision: ``fp32`` (default), ``fp16`` or ``bf16``. In the latter two the layer norms compute in float32 and
            the rest is cast as open_clip and the original CLIP cast it.

    Returns:
        An ``open_clip.CLIP``, ``CustomTextCLIP`` or ``CoCa`` on the CPU, in evaluation mode, without gradients.

    Raises:
        InputError: The tensors do not fit the architecture or hold NaN or infinite values, or open_clip does not build
            the architecture.
    """
    import torch

    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} is none of {', '.join(PRECISIONS)}")
    cast = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    model = _unfilled_model(model_cfg, where, cast)
    state = _fitting_tensors(model, tensors, where)
    if SCALE in model.state_dict() and SCALE not in state:
        state[SCALE] = torch.full_like(model.state_dict()[SCALE], torch.nan)
    model.load_state_dict(state)
    if cast is not None:
        _cast(model, cast, timm=bool(model_cfg["vision_cfg"].get("timm_model_name")))
    return model.eval().requires_grad_(False)


def fitting_tensors(model_cfg: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensors under the names and in the shapes of open_clip's model, each in its own dtype.

    ``logit_scale`` may be missing, as for :func:`build_model`; see :func:`check_scale`.

    Raises:
        InputError: The tensors do not fit, as for :func:`build_model`.
    """
    return _fitting_tensors(_unfilled_model(model_cfg, where, None), tensors, where)


def check_scale(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights without ``logit_scale`` if they will be tuned, or written for other programs to load.

    Raises:
        InputError: ``logit_scale`` is missing.
    """
    if SCALE not in tensors:
        raise InputError(
            f"{where} has no {SCALE}; features do not need it, to tune or convert these weights does: take weights "
            "that have it"
        )


def _unfilled_model(model_cfg: Mapping[str, Any], where: str, cast: Any) -> Any:
    kind, settings = _class_and_settings(model_cfg)
    try:
        model = _empty_module(kind, {**settings, "cast_dtype": cast})
    except Exception as error:  # open_clip, timm and transformers raise many kinds for an architecture they refuse
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{where}: open_clip cannot build its architecture ({reason})") from error
    if not model_cfg["vision_cfg"]:
        from capreward.encoders.model.no_image_tower import NoImageTower

        model.visual = NoImageTower(where)
    return model


def _fitting_tensors(model: Any, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    wanted: dict[str, Tensor] = model.state_dict()
    state = _adapted_tensors(tensors, model, wanted)
    missing = [n for n in wanted if n not in state and n != SCALE]
    extra = [n for n in state if n not in wanted]
    if missing or extra:
        parts = [f"it lacks {shorten(missing)}"] * bool(missing) + [f"it has {shorten(extra)}"] * bool(extra)
        raise InputError(f"{where} does not fit its architecture: {'; '.join(parts)}")
    wrong = next((n for n, t in state.items() if wanted[n].shape != t.shape), None)
    if wrong is not None:
        found, needed = tuple(state[wrong].shape), tuple(wanted[wrong].shape)
        raise InputError(f"{where} does not fit its architecture: {wrong} is {found} and should be {needed}")
    refuse_nonfinite(state, where)
    return state


def _class_and_settings(model_cfg: Mapping[str, Any]) -> tuple[type[nn.Module], dict[str, Any]]:
    open_clip = import_open_clip()
    settings = copy.deepcopy(dict(model_cfg))
    settings["vision_cfg"] = settings["vision_cfg"] or dict(_STAND_IN)
    custom = settings.pop("custom_text", False) or bool(settings["text_cfg"].get("hf_model_name"))
    if settings["vision_cfg"].get("timm_model_name"):
        settings["vision_cfg"]["timm_model_pretrained"] = False
    if settings["text_cfg"].get("hf_model_name"):
        settings["text_cfg"]["hf_model_pretrained"] = False
    if custom and "multimodal_cfg" in settings:
        return open_clip.CoCa, settings
    return (open_clip.CustomTextCLIP if custom else open_clip.CLIP), settings


def _empty_module(kind: type[nn.Module], settings: dict[str, Any]) -> nn.Module:
    """Return a module with undefined parameters and correct masks."""
    import torch

    native = not settings["vision_cfg"].get("timm_model_name") and not settings["text_cfg"].get("hf_model_name")
    if native:
        with torch.device("meta"):
            model = kind(**settings)
        unsaved = {name for name, _ in model.named_buffers()} - set(model.state_dict())
        if unsaved <= _MASKS:
            model.to_empty(device="cpu")
            for name in unsaved:
                model.get_buffer(name).fill_(float("-inf")).triu_(1)
            return model
    with torch.random.fork_rng(devices=[]):
        return kind(**settings)


def _adapted_tensors(tensors: Mapping[str, Tensor], model: Any, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under this module's names and in its shapes, where open_clip itself accepts both."""
    state: dict[str, Tensor] = import_open_clip().convert.convert_state_dict(model, dict(tensors))
    if "text.token_embedding.weight" in wanted and "token_embedding.weight" in state:
        own = ("visual.", "logit_", "text_decoder.")
        state = {n if n.startswith(own) else f"text.{n}": t for n, t in state.items()}
    elif "token_embedding.weight" in wanted and "text.token_embedding.weight" in state:
        state = {n.removeprefix("text."): t for n, t in state.items()}
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in wanted and state[name].numel() == wanted[name].numel():
            state[name] = state[name].reshape(wanted[name].shape)
    if "logit_bias" in wanted and "logit_bias" not in state:
        state["logit_bias"] = wanted["logit_bias"].new_zeros(wanted["logit_bias"].shape)
    buffers = ("position_ids", "attn_mask")  # buffers that older versions saved
    return {n: t for n, t in state.items() if n in wanted or n.rpartition(".")[2] not in buffers}


def _cast(model: nn.Module, dtype: Any, *, timm: bool) -> None:
    """Cast as open_clip does: all of a timm model but layer norms; of a native model the matrices and projections."""
    import torch

    open_clip = import_open_clip()
    if not timm:
        open_clip.convert_weights_to_lp(model, dtype=dtype)
        return
    model.to(dtype=dtype)
    for module in model.modules():
        if isinstance(module, open_clip.transformer.LayerNormFp32):
            module.to(dtype=torch.float32)
