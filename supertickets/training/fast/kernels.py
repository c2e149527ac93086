"""Adamax as one kernel on a GPU: what :func:`~supertickets.training.optimiser.adamax_step` does, to the last bit.

Operation by operation a step goes 24 times through vectors as long as the model; at once it goes through them 9 times.
Where many runs share a card, that is what a short step is made of.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_SOURCE = r"""
extern "C" __global__ void adamax(float* weights, float* gradient, float* average, float* infinity,
    unsigned short* low, const float* norm, const double* updates, const double* rate, double clip, int n) {
  float scale = (float)clip / (*norm + 1e-6f);
  if (scale > 1.0f) scale = 1.0f;  // what is no number stays none, as everywhere below
  float factor = (float)(-*rate / (1.0 - pow(0.9, *updates)));
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    float g = gradient[i] * scale, m = average[i], u = infinity[i] * 0.999f, size = fabsf(g) + 1e-8f;
    m = m + 0.1f * (g - m);
    u = size <= u ? u : size;
    float w = weights[i] + factor * m / u;
    average[i] = m; infinity[i] = u; weights[i] = w; gradient[i] = 0.0f;
    if (low) {  // to bf16, to the nearest, ties to even
      unsigned int bits = __float_as_uint(w);
      low[i] = w != w ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    }
  }
}
"""
"""Betas and epsilon are those of :mod:`supertickets.training.optimiser`, which a test for a GPU compares."""


@cache
def _kernel(device: int) -> Callable[..., None] | None:
    """The kernel, compiled once a process for its current device; None where torch cannot."""
    try:
        return torch.cuda._compile_kernel(_SOURCE, "adamax")
    except (AttributeError, ImportError, OSError, RuntimeError):  # an older torch, or no compiler beside it
        return None


def fused_adamax(flat: Any, average: Tensor, infinity: Tensor, updates: Tensor, rate: Any, clip: float) -> bool:
    """Takes the step, the copy ``flat.low`` included if there is one; False, and nothing is done, if it cannot.

    All vectors are float32 on a GPU, updates and rate float64 there.
    """
    if not (flat.is_cuda and flat.dtype is torch.float32) or (kernel := _kernel(torch.cuda.current_device())) is None:
        return False
    low = getattr(flat, "low", None)
    low = flat.new_empty(0) if low is None else low  # whose address is none
    (norm,) = torch._foreach_norm([flat.grad])  # pyright: ignore[reportPrivateImportUsage]
    vectors = [flat.data, flat.grad, average, infinity, low, norm, updates, rate, float(clip), flat.numel()]
    kernel(grid=(1024, 1, 1), block=(256, 1, 1), args=vectors)
    return True
