"""Adam (Kingma and Ba 2015, algorithm 1), without the compiler stack that `torch.optim` imports for seconds."""

from collections.abc import Iterable

import torch

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Steps like `torch.optim.Adam` with its defaults."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._learning_rate = learning_rate
        self._first = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._second = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        self._steps += 1
        rate = self._learning_rate / (1 - FIRST_DECAY**self._steps)
        correction = (1 - SECOND_DECAY**self._steps) ** 0.5
        for parameter, first, second in zip(self._parameters, self._first, self._second, strict=True):
            if parameter.grad is None:
                continue
            first.lerp_(parameter.grad, 1 - FIRST_DECAY)
            second.mul_(SECOND_DECAY).addcmul_(parameter.grad, parameter.grad, value=1 - SECOND_DECAY)
            parameter.addcdiv_(first, (second.sqrt() / correction).add_(EPSILON), value=-rate)
