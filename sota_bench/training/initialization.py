"""Initial weights that are drawn per parameter name, so that networks which differ in one layer agree in all others.

torch draws all weights from one generator, one tensor after the other: a head with more classes, or a first layer that
sees another number of channels, changes every tensor that is drawn after it, and trials that differ in that alone would
not be paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sota_bench.randomness import derive

FILLING = frozenset({
    "uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "fill_", "zero_", "erfinv_", "mul_", "add_", "clamp_",
})  # fmt: skip
"""Functions that give a tensor other values and the same shape."""


@contextmanager
def drawn_by_name(seed: int, make: Callable[[], nn.Module]) -> Iterator[None]:
    """Inside, the weights of the network that ``make`` makes depend on their own names and ``seed`` alone.

    The initialization stays the network's own: it runs as it is written, and only the generator is seeded anew for each
    tensor that is filled. What is not drawn into a parameter itself (an orthogonal initialization draws a matrix beside
    it) is drawn from the stream of the parameter that was registered or filled last.

    Args:
        seed: of the trial.
        make: makes the network without reading any weights; it is called once more, without memory where that works, to
            learn the names in the order in which parameters are registered.
    """
    mode = _SeedsByName(seed, _names_in_order(make))
    hook = register_module_parameter_registration_hook(mode.register)
    try:
        with torch.random.fork_rng(devices=[]), mode:
            yield
    finally:
        hook.remove()


def _names_in_order(make: Callable[[], nn.Module]) -> list[str]:
    """Returns the name of each parameter in the order of registration; "" for one that the network does not keep."""
    try:
        with torch.device("meta"), _WithoutFilling():
            return _registered(make)
    except Exception:  # some networks compute with their weights while they are made; what else is wrong is raised here
        return _registered(make)


def _registered(make: Callable[[], nn.Module]) -> list[str]:
    registered: list[nn.Parameter | None] = []
    hook = register_module_parameter_registration_hook(lambda module, name, value: registered.append(value))
    try:
        names = {id(value): name for name, value in make().named_parameters()}
    finally:
        hook.remove()
    return [names.get(id(value), "") for value in registered]


class _WithoutFilling(TorchFunctionMode):
    """Leaves out what only fills tensors without memory: working out what it would do takes longer than to fill a
    small network."""

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Runs one function of torch, or returns the tensor that it would fill."""
        kwargs = kwargs or {}
        target = args[0] if args else kwargs.get("tensor")
        if getattr(function, "__name__", "") in FILLING and isinstance(target, Tensor) and target.is_meta:
            return target
        return function(*args, **kwargs)


class _SeedsByName(TorchDispatchMode):
    """Seeds torch's generator before each random operation.

    Args:
        seed: of the trial.
        names: of the parameters in the order of registration.
    """

    def __init__(self, seed: int, names: list[str]) -> None:
        super().__init__()
        self._seed, self._names = seed, names
        self._registered: list[nn.Parameter | None] = []  # kept, so that no other tensor gets their memory
        self._name_of: dict[int, str] = {}
        self._times_filled: dict[str, int] = {}
        self._stream, self._draws = "init", 0

    def register(self, module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        """Learns the name of a parameter when its module registers it."""
        number = len(self._registered)
        self._registered.append(value)
        if value is not None and number < len(self._names):
            full_name = self._names[number] or f"parameter {number}"
            self._name_of[value.untyped_storage()._cdata] = full_name
            self._start(f"init/{full_name}/registered")

    def _start(self, stream: str) -> None:
        self._stream, self._draws = stream, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Runs one operation of torch."""
        if torch.Tag.nondeterministic_seeded in function.tags:
            target = args[0] if args and isinstance(args[0], Tensor) else None
            name = self._name_of.get(target.untyped_storage()._cdata) if target is not None else None
            if name is not None:
                times = self._times_filled[name] = self._times_filled.get(name, 0) + 1
                self._start(f"init/{name}/{times}")
            torch.default_generator.manual_seed(derive(self._seed, self._stream, 0, self._draws))
            self._draws += 1
        return function(*args, **(kwargs or {}))
