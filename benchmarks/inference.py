"""Images per second from uint8 pixels to uint8 labels, against segmentation_models_pytorch's same networks.

U-Net and DeepLab v3+ on ResNet18, 11 classes, 512 x 512, batch 1 and 4. The peers run as their examples run them (eager
float32) and at better settings: bfloat16 and channels last, torch.compile with frozen weights, OpenVINO, ONNX
Runtime; with normalisation before and argmax after the network, as their users write them, and (`whole`) with both
inside of what is compiled. In 8-bit integers: ours after `pixelwise quantize`, the peer's whole graph after NNCF, with
ranges from the very pixels; these are compared with the others and with each other.
Contenders alternate, each in a process of its own; medians over the rounds. The peers' weights are loaded into our
network; where the definitions agree (U-Net) the logits have to, and how many labels are those of the first contender
is stored. The machine's own peak is measured in the same run.

    python benchmarks/inference.py --out benchmarks/results/inference.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import copy_speed, peak, store
from train_step import compare

import pixelwise as pw

SIZE, CLASSES = 512, 11
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PEERS = (
    "smp float32",
    "smp bfloat16",
    "smp compiled",
    "smp compiled whole",
    "smp openvino",
    "smp openvino whole",
    "smp onnxruntime",
)
INTEGERS = ("smp openvino integers", "pixelwise integers")
OURS = ("pixelwise eager", "pixelwise openvino", "pixelwise compiled")
MODELS = {"unet": "Unet", "deeplabv3plus": "DeepLabV3Plus"}


def main() -> None:
    """Alternate the contenders for each network and batch, and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 4])
    parser.add_argument("--contenders", nargs="*", default=[*PEERS, *OURS, *INTEGERS])
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    machine = {
        "float32": peak(torch.float32),
        "bfloat16": peak(torch.bfloat16),
        "copy_gb_per_s": copy_speed(),
    }
    rows = [
        row(model, batch, given.contenders, given.rounds) for model in given.models for batch in given.batches
    ]
    result = {
        "command": "python benchmarks/inference.py",
        "rows": rows,
        "peak": machine,  # TFLOP/s; measured first: contenders take a while to end
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.processor() or platform.machine(),
        "load_before": load,
    }
    store(given.out, result)


def row(model: str, batch: int, names: list[str], rounds: int) -> dict[str, Any]:
    """Milliseconds per image of every contender, and how many of its labels are those of float32."""
    compare(model)
    context = multiprocessing.get_context("spawn")
    pipes, labels = {}, {}
    for name in names:
        pipes[name], end = context.Pipe()
        context.Process(target=contend, args=(name, model, batch, end), daemon=True).start()
        end.close()  # so that a contender that fails ends the wait for it
        labels[name] = pipes[name].recv()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            if labels[name] is not None:
                pipe.send("go")
                seconds[name] += pipe.recv()
    for pipe in pipes.values():
        pipe.send("stop")
    times = {name: 1000 * median(taken) / batch for name, taken in seconds.items() if taken}
    judge = labels[names[0]]
    best = min((ms for name, ms in times.items() if name in PEERS), default=0.0)
    ours = min((ms for name, ms in times.items() if name in OURS), default=0.0)
    integers = times.get("pixelwise integers", 0.0)
    found = {
        "model": model,
        "batch": batch,
        "milliseconds_per_image": {name: round(ms, 1) for name, ms in times.items()},
        "labels_as_first": {
            name: round(float((one == judge).mean()), 5) for name, one in labels.items() if one is not None
        },
        "ratio_to_float32": round(times.get("smp float32", 0.0) / ours, 2) if ours else None,
        "ratio_to_bfloat16": round(times.get("smp bfloat16", 0.0) / ours, 2) if ours else None,
        "ratio_to_best_peer": round(best / ours, 3) if ours else None,
        "integers_to_best_peer": round(best / integers, 3) if integers else None,
        "integers_to_integers": round(times.get("smp openvino integers", 0.0) / integers, 3)
        if integers
        else None,
    }
    print(json.dumps(found), flush=True)
    return found


def contend(name: str, model: str, batch: int, pipe: Connection) -> None:
    """Hold one contender and time its answers whenever asked."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (batch, SIZE // 16, SIZE // 16, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(
        small.repeat(16, axis=1).repeat(16, axis=2)
    )  # flat areas, as in real images
    peer = peer_network(model)
    try:
        run = ours(name, model, peer, pixels) if name.startswith("pixelwise") else theirs(name, peer, pixels)
        for _ in range(2):
            labels = run(pixels)
    except Exception as error:  # a contender that cannot run is reported and left out
        print(f"{name}: {str(error)[:200]}", flush=True)
        pipe.send(None)
        return
    pipe.send(np.array(labels))
    while pipe.recv() == "go":
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            run(pixels)
            seconds.append(time.perf_counter() - began)
        pipe.send(seconds)


def ours(
    name: str, model: str, peer: torch.nn.Module, pixels: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Our network with the peer's weights, by an engine; in integers with ranges measured on `pixels`."""
    from pixelwise.infer.engine import open_engine

    normalization = pw.Normalization(MEAN, STD)
    net = pw.build(model, encoder="resnet18", classes=CLASSES, normalization=normalization).eval()
    state, own = list(peer.state_dict().items()), net.state_dict()
    if len(state) != len(own):
        raise SystemExit(f"{len(own)} tensors against {len(state)}")
    net.load_state_dict({key: value for key, (_, value) in zip(own, state, strict=True)})
    if name in INTEGERS:
        net.facts, name = facts_with_ranges(net, pixels), "pixelwise openvino"
    engine = open_engine(net, name.split()[1], precision="bfloat16", alike=lambda: True)
    return lambda pixels: engine.batch(pixels)


def facts_with_ranges(net: Any, pixels: np.ndarray) -> Any:
    """What a bundle says that `pixelwise quantize` has made; how many labels stay is not measured here."""
    from pixelwise.evaluation.quantize import ranges_measured
    from pixelwise.infer.predictor import Running
    from pixelwise.models.bundle import BundleFacts
    from pixelwise.models.quantization import Quantization

    with ranges_measured(net) as ranges:
        Running(net, "float32").batch(pixels)
    places = {"split": "pixels", "images": len(pixels), "judged_split": "none", "judged_images": 1}
    found = Quantization(ranges=ranges, **places, agreement=0, mean_iou=(0, 0))
    return BundleFacts(precision="bfloat16", quantization=found)


def theirs(name: str, net: torch.nn.Module, sample: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The peer: pixels normalised and argmax taken by torch, or within what is compiled (`whole`)."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    last = torch.channels_last

    def ready(pixels: np.ndarray) -> torch.Tensor:
        return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - mean) / std

    def labels(logits: torch.Tensor) -> np.ndarray:
        return logits.argmax(1).to(torch.uint8).numpy()

    if name in ("smp float32", "smp bfloat16"):
        lower = name == "smp bfloat16"
        net = net.to(memory_format=last) if lower else net

        def eager(pixels: np.ndarray) -> np.ndarray:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=lower):
                images = ready(pixels)
                return labels(net(images.contiguous(memory_format=last) if lower else images.contiguous()))

        return eager
    if name == "smp compiled whole":
        whole = torch.compile(Whole(net.to(memory_format=last)), options={"freezing": True}, dynamic=False)

        def all_compiled(pixels: np.ndarray) -> np.ndarray:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                return whole(torch.from_numpy(pixels)).numpy()

        return all_compiled
    if name == "smp compiled":
        net = net.to(memory_format=last)
        frozen = torch.compile(net, options={"freezing": True}, dynamic=False)

        def compiled(pixels: np.ndarray) -> np.ndarray:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                return labels(frozen(ready(pixels).contiguous(memory_format=last)))

        return compiled
    return runtime(name, net, sample, ready, labels)


def runtime(
    name: str,
    net: torch.nn.Module,
    sample: np.ndarray,
    ready: Callable[[np.ndarray], torch.Tensor],
    labels: Callable[[torch.Tensor], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
    """The peer exported to ONNX and run by OpenVINO (bfloat16) or ONNX Runtime (float32), for this shape alone."""
    import io

    whole = name.endswith(("whole", "integers"))
    example = torch.from_numpy(sample) if whole else torch.zeros(len(sample), 3, SIZE, SIZE)
    program = torch.onnx.export(Whole(net) if whole else net, (example,), dynamo=True, verbose=False)
    graph = program.model_proto.SerializeToString()
    if "openvino" in name:
        import openvino

        hints = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # as ours: pinned threads were seen on one core
        }
        core = openvino.Core()
        network = core.read_model(io.BytesIO(graph))
        if name in INTEGERS:
            os.environ["NNCF_CI"] = "1"  # report nothing: the processes that would do it take the cores
            import nncf

            network = nncf.quantize(network, nncf.Dataset([sample]), subset_size=1)
        compiled = core.compile_model(network, "CPU", hints)
        request = compiled.create_infer_request()
        if whole:
            return lambda pixels: request.infer({0: pixels}, share_inputs=True, share_outputs=True)[0]
        return lambda pixels: labels(
            torch.from_numpy(request.infer({0: ready(pixels).contiguous().numpy()}, share_inputs=True)[0])
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    return lambda pixels: labels(
        torch.from_numpy(session.run(None, {entry: ready(pixels).contiguous().numpy()})[0])
    )


class Whole(torch.nn.Module):
    """The peer from uint8 pixels [N, H, W, 3] to uint8 labels [N, H, W]."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise, run, take the best class."""
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return self.net(images).argmax(1).to(torch.uint8)


def peer_network(model: str) -> torch.nn.Module:
    """The peer's network on ResNet18, the same random weights in every process, statistics as after training."""
    import torchvision_shim

    torchvision_shim.install()
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    net = getattr(smp, MODELS[model])("resnet18", encoder_weights=None, classes=CLASSES)
    with torch.no_grad():
        net.train()
        for _ in range(3):
            net(torch.randn(4, 3, 96, 96))
    return net.eval()


if __name__ == "__main__":
    main()
