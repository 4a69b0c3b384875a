"""The training loop: a fixed number of iterations with a poly learning rate, resumable at any iteration."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quadrat.benchmark.errors import StopRequested, TrainingError
from quadrat.benchmark.learning.graphs import Replayed
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.training.checkpoint import CheckpointFile, FitState, read_checkpoint, write_checkpoint
from quadrat.benchmark.learning.training.compiling import loss_function

__all__ = ["Batch", "make_optimizer", "train"]

# Iterations between two checks that the loss is finite: each check synchronises with the device.
_FINITE_EVERY = 50


class Batch(NamedTuple):
    """Input and labels of one iteration."""

    inputs: Any  # input of the network: normalised images, or encoded features
    label_BHW: Tensor  # class ids, uint8, 255 = void; or rows of sets_KC, int32
    sets_KC: Tensor | None = None  # bool, the sets of classes that labels stand for, see losses.py


def train(
    network: nn.Module,
    draw_batch: Callable[[int], Batch],
    recipe: Recipe,
    num_steps: int,
    *,
    dropout_seed: Callable[[int], int],
    device: torch.device,
    checkpoint: CheckpointFile | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Train `network` in place and return the loss of every iteration.

    Batch and dropout masks of iteration i depend on i only. So network, optimiser and iteration number suffice to
    resume, and on a CPU a resumed fit ends with the same bits as an uninterrupted one.

    Args:
        network: On `device`; gives logits at stride 4 for a batch's inputs.
        draw_batch: Iteration number to batch, on `device`.
        recipe: Settings of optimiser, learning rate, loss, precision and compilation.
        num_steps: Iterations of the whole fit, including those before a resume.
        dropout_seed: Iteration number to dropout seed; global generators are restored after each iteration.
        device: Device of the network.
        checkpoint: Where to resume from and save to; None saves nothing.
        on_step: Called with (iterations done, iterations in total). When it raises `StopRequested`, a checkpoint is
            written first.

    Returns:
        Mean cross-entropy in nats, float32 (num_steps,), on the CPU.

    Raises:
        TrainingError: The loss is not finite, the checkpoint is unreadable or belongs to another fit, or compilation
            fails.
    """
    optimizer = make_optimizer(network, recipe)
    losses = torch.zeros(num_steps, device=device)
    start = 0
    if checkpoint is not None:
        state = read_checkpoint(checkpoint)
        if state is not None:
            network.load_state_dict(state.network)
            optimizer.load_state_dict(state.optimizer)
            losses.copy_(state.losses)
            start = state.step
    network.train()
    step_of = _step_function(network, optimizer, recipe, device)
    last_write_s = time.monotonic()

    def write_state(file: CheckpointFile, done: int) -> None:
        _check_finite(losses, done, num_steps, recipe)
        write_checkpoint(file, FitState(done, network.state_dict(), optimizer.state_dict(), losses))

    forked_devices = [device] if device.type == "cuda" else []
    for step in range(start, num_steps):
        batch = draw_batch(step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(step, num_steps)
        with torch.random.fork_rng(devices=forked_devices):
            torch.default_generator.manual_seed(dropout_seed(step))
            if device.type == "cuda":
                torch.cuda.manual_seed(dropout_seed(step))
            loss = step_of(batch)
        optimizer.step()
        losses[step] = loss
        done = step + 1
        if done % _FINITE_EVERY == 0 or done == num_steps:
            _check_finite(losses, done, num_steps, recipe)
        if checkpoint is not None and done < num_steps and time.monotonic() - last_write_s >= checkpoint.every_s:
            write_state(checkpoint, done)
            last_write_s = time.monotonic()
        if on_step is not None:
            try:
                on_step(done, num_steps)
            except StopRequested:
                if checkpoint is not None:
                    write_state(checkpoint, done)
                raise
    return losses.cpu()


def _step_function(
    network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, device: torch.device
) -> Callable[[Batch], Tensor]:
    """Return the function from a batch to its loss that leaves the gradients in the parameters."""
    loss_of = loss_function(recipe, device)

    def step_of(batch: Batch) -> Tensor:
        loss = loss_of(network, batch.inputs, batch.label_BHW, batch.sets_KC)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def drop_gradients() -> None:
        optimizer.zero_grad(set_to_none=True)

    if device.type == "cuda" and recipe.cuda_graphs and recipe.compile is None:
        replayed = Replayed(lambda *parts: step_of(Batch(*parts)), device, drop_gradients)
        return lambda batch: replayed(*batch)

    def fresh_step_of(batch: Batch) -> Tensor:
        drop_gradients()
        return step_of(batch)

    return fresh_step_of


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all parameters, in one fused kernel a step."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
    return torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def _check_finite(losses: Tensor, done: int, num_steps: int, recipe: Recipe) -> None:
    is_finite = torch.isfinite(losses[:done])
    if not bool(is_finite.all()):
        step = int((~is_finite).nonzero()[0])
        raise TrainingError(
            f"the loss is not finite at iteration {step} of {num_steps} (value {float(losses[step])}, learning rate "
            f"{recipe.lr_at(step, num_steps):.3g}): lower lr={recipe.lr:g}, or set precision to 'fp32' if it is 'bf16'"
        )
