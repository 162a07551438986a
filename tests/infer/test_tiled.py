"""Tiled labels are those of the whole image, judged by the network itself on the whole image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pixelwise.errors import OptionError
from pixelwise.infer.blend import Blender, Rows
from pixelwise.infer.pools import held
from pixelwise.infer.predictor import predict, predict_with_confidence
from pixelwise.infer.tiled import TiledNetwork, predict_tiled
from pixelwise.infer.windows import ArrayReader, TileOptions, Wanted, Window
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.surroundings import surroundings
from pixelwise.models.zoo import DECODERS, build
from pixelwise.ops.tiles import Box, plan_tiles
from pixelwise.types import Image, Labels

SMALL = NetworkOptions(encoder_width=0.125)
BLOCK = 64

# Every decoder on a narrow encoder, with a few of the options that change what it sees. `core` is small, so that
# several tiles fit in an image that is judged whole in a moment.
LOCAL: dict[str, tuple[str, str, NetworkOptions]] = {
    "unet": ("unet", "resnet18", NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8, 8, 8))),
    "unet_coarse": ("unet", "resnet18", NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8))),
    "unet_valid": (
        "unet",
        "unet",
        NetworkOptions(encoder_width=0.125, padding="valid", decoder_channels=(8, 8, 8, 8)),
    ),
    "unet_bilinear": (
        "unet",
        "vgg16_bn",
        NetworkOptions(encoder_width=0.125, upsampling="bilinear", decoder_channels=(8, 8, 8, 8, 8)),
    ),
    "fcn32s": ("fcn32s", "vgg16", SMALL),
    "fcn16s": ("fcn16s", "vgg16", SMALL),
    "fcn8s": ("fcn8s", "resnet18", SMALL),
    "segnet": ("segnet", "vgg16_bn", SMALL),
    "hourglass": ("hourglass", "resnet18", SMALL),
    "deeplabv3": (
        "deeplabv3",
        "resnet18",
        NetworkOptions(encoder_width=0.125, decoder_channels=(16,), rates=(1, 2)),
    ),
    "deeplabv3plus": (
        "deeplabv3plus",
        "resnet18",
        NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8), rates=(1, 2)),
    ),
    "asymmetric_unet": (
        "asymmetric_unet",
        "resnet18",
        NetworkOptions(encoder_width=0.125, rates=(1, 2), pooling_window=96),
    ),
    "weighed_unet": (
        "unet",
        "resnet18",
        NetworkOptions(
            encoder_width=0.125, squeeze_excitation=True, pooling_window=64, decoder_channels=(16, 8, 8)
        ),
    ),
    "fullres": ("fullres", "image", NetworkOptions(decoder_channels=(8, 8))),
    "patch": ("patch", "small_cnn", NetworkOptions(encoder_width=0.125, patch=(32, 8))),
    "mobilenet": ("unet", "mobilenet_v1", NetworkOptions(encoder_width=0.125, decoder_channels=(8,) * 5)),
    "xception": (
        "deeplabv3plus",
        "xception",
        NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8), rates=(1, 2)),
    ),
    "googlenet": ("unet", "googlenet", NetworkOptions(encoder_width=0.125, decoder_channels=(8, 8, 8, 8, 8))),
}


def picture(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, bands), dtype=np.uint8)


def network(name: str, encoder: str, options: NetworkOptions) -> Segmenter:
    """With running statistics of real activations, so that nothing vanishes and every class wins somewhere."""
    torch.manual_seed(0)
    model = build(name, encoder=encoder, classes=4, options=options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over the batches seen
    image = torch.from_numpy(picture(96, 96)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    with torch.no_grad():
        model.train()(model.prepare(image))
        model.eval()
        std, mean = torch.std_mean(model(model.prepare(image)), dim=(0, 2, 3))
        model.head.weight /= std[:, None, None, None] + 1e-6
        if model.head.bias is not None:
            model.head.bias.copy_((model.head.bias - mean) / (std + 1e-6))
    return model


def logits_of(model: Segmenter, image: NDArray[np.uint8]) -> torch.Tensor:
    with torch.inference_mode():
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return model(model.prepare(pixels))[0]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TiledNetwork]:
    """Tiles far smaller than those of scenes, whose laws hold all the same."""

    def plan(model: Segmenter, size: tuple[int, int], core: int, **options: object) -> TiledNetwork:
        tiled = TiledNetwork(model, size, options=TileOptions(**options))
        halo = tiled.plan.halo
        if tiled.facts.halo is not None and tiled.options.overlap == "exact":
            halo = tiled.facts.halo
        tiled.plan = plan_tiles(size, stride=tiled.facts.stride, halo=halo, core=core, block=BLOCK)
        tiled.passes = 2 if tiled.facts.pools and tiled.options.overlap == "exact" else 1
        return tiled

    return plan


@pytest.mark.parametrize("case", LOCAL)
def test_labels_and_logits_are_those_of_the_whole_image(
    case: str, small_blocks: Callable[..., TiledNetwork]
) -> None:
    model = network(*LOCAL[case])
    reach = surroundings(model).halo
    assert reach is not None
    long = sum(reach) + 4 * BLOCK + 5  # rows for a first, an inner and a last tile
    image = picture(*((83, long) if case.endswith("unet") else (long, 83)))
    tiled = small_blocks(model, image.shape[:2], BLOCK)
    assert len(tiled.plan) >= 3
    whole = logits_of(model, image)
    seen: list[torch.Tensor] = []
    judged = model.judged
    model.judged = lambda images: seen.append(judged(images)) or seen[-1]  # type: ignore[method-assign,func-returns-value]
    ties = 0
    for piece in tiled.run(ArrayReader(image)):
        core = piece.tile.core.within(Box(0, 0, *image.shape[:2]))
        inner = piece.tile.core.within(piece.tile.window)
        with held(model, tiled.averages):
            window = torch.empty(1, 1, piece.tile.window.height, piece.tile.window.width)
        full = model.full_size(seen[-1], window)[0]
        want, got = whole[(slice(None), *core)], full[(slice(None), *inner)]
        scale = float(want.abs().max().clamp(min=1))
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * scale)
        top = want.topk(2, dim=0).values
        clear = (top[0] - top[1] > 1e-4 + 2e-5 * scale).numpy()
        ties += int((~clear).sum())
        assert (piece.labels == want.argmax(0).numpy())[clear].all()
    assert ties < 0.01 * image.shape[0] * image.shape[1]


def test_every_decoder_is_covered() -> None:
    assert {name for name, _, _ in LOCAL.values()} == {*DECODERS}


@pytest.mark.parametrize("case", ["unet", "unet_valid", "patch", "fullres"])
def test_a_smaller_halo_is_not_enough(case: str, small_blocks: Callable[..., TiledNetwork]) -> None:
    """The traced halo is not merely large: with eight strides less logits change."""
    model = network(*LOCAL[case])
    facts = surroundings(model)
    assert facts.halo is not None
    image = picture(500, 40)
    whole = logits_of(model, image)
    less = tuple(max(0, side - 8 * facts.stride) for side in facts.halo)
    plan = plan_tiles(image.shape[:2], stride=facts.stride, halo=(less[0], less[1]), core=BLOCK, block=BLOCK)
    changed = 0.0
    for tile in plan:
        part = logits_of(model, image[tile.window.within(Box(0, 0, 500, 40))])
        inner = part[(slice(None), *tile.core.within(tile.window))]
        changed = max(
            changed, float((inner - whole[(slice(None), *tile.core.within(Box(0, 0, 500, 40)))]).abs().max())
        )
    assert changed > 1e-4


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (63, 65), (1, 1), (64, 128)])
def test_odd_sizes(shape: tuple[int, int], small_blocks: Callable[..., TiledNetwork]) -> None:
    model = network(*LOCAL["unet_coarse"])
    image = picture(*shape)
    tiled = small_blocks(model, shape, BLOCK)
    labels = np.full(shape, 254, np.uint8)
    for piece in tiled.run(ArrayReader(image)):
        labels[piece.tile.core.within(Box(0, 0, *shape))] = piece.labels
    assert (labels == predict(model, image)).mean() > 0.999


def test_predict_tiled_with_real_blocks() -> None:
    model = network("fullres", "image", NetworkOptions(decoder_channels=(4,)))
    image = picture(1100, 530)
    options = TileOptions(core=512)
    assert len(TiledNetwork(model, (1100, 530), options=options).plan) == 6
    assert (predict_tiled(model, image, options=options) == predict(model, image)).mean() > 0.9999


def test_pools_one_level_deep_are_averaged_first(small_blocks: Callable[..., TiledNetwork]) -> None:
    model = network(*LOCAL["deeplabv3plus"])
    tiled = small_blocks(model, (300, 70), BLOCK)
    assert tiled.passes == 2
    image = picture(300, 70)
    taken: list[torch.Tensor] = []
    hook = model.get_submodule("decoder.aspp.image.0").register_forward_hook(lambda *a: taken.append(a[2]))
    logits_of(model, image)
    hook.remove()
    steps: list[int] = []
    [*tiled.run(ArrayReader(image), step=lambda: steps.append(1))]
    torch.testing.assert_close(tiled.averages["decoder.aspp.image.0"], taken[0], rtol=1e-5, atol=1e-6)
    assert len(steps) == len(tiled.plan)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("asymmetric_unet", NetworkOptions(encoder_width=0.125), "squeeze"),
        ("unet", NetworkOptions(encoder_width=0.125, squeeze_excitation=True), "squeeze"),
        ("unet", NetworkOptions(encoder_width=0.125, norm="group"), "GroupNorm"),
    ],
)
def test_networks_that_see_everything_are_refused_with_the_choice(
    name: str, options: NetworkOptions, found: str
) -> None:
    model = build(name, encoder="resnet18", classes=3, options=options).eval()
    with pytest.raises(OptionError, match=found) as caught:
        TiledNetwork(model, (30_000, 30_000))
    assert "--overlap" in caught.value.remedy
    assert ("network.pooling_window" in caught.value.remedy) == (found == "squeeze")
    assert len(TiledNetwork(model, (30_000, 30_000), options=TileOptions(overlap=64)).plan) > 1
    assert len(TiledNetwork(model, (200, 300)).plan) == 1  # fits in one window: nothing to be exact about


def test_an_overlap_in_pixels_is_taken() -> None:
    model = network(*LOCAL["unet"])
    plan = TiledNetwork(model, (5000, 5000), options=TileOptions(overlap=100, core=1024)).plan
    assert plan.halo == (128, 128)
    assert plan.rows[1].start == 1024


def test_tiles_are_as_large_as_memory_allows() -> None:
    model = network(*LOCAL["unet"])
    small, large = (
        TiledNetwork(model, (20_000, 20_000), options=TileOptions(memory=size << 20)) for size in (500, 3000)
    )
    assert small.plan.largest[0] < large.plan.largest[0]
    assert small.memory <= 500 << 20
    assert large.memory <= 3000 << 20


@pytest.mark.parametrize("overlap", ["none", -1])
def test_wrong_overlaps_are_refused(overlap: object) -> None:
    with pytest.raises(OptionError, match="overlap"):
        TileOptions(overlap=overlap)


def test_confidence_is_that_of_the_whole_image(small_blocks: Callable[..., TiledNetwork]) -> None:
    model = network(*LOCAL["unet_coarse"])
    image = picture(260, 70)
    tiled = small_blocks(model, (260, 70), BLOCK)
    whole = predict_with_confidence(model, image)[1]
    for piece in tiled.run(ArrayReader(image), want=Wanted(confidence=True)):
        assert piece.confidence is not None
        want = whole[piece.tile.core.within(Box(0, 0, 260, 70))]
        assert np.abs(piece.confidence / 255 - want).max() < 0.5 / 255 + 1e-4


class Hundreds:
    footprint = 0.5

    def prepare(self, dtype: str) -> None: ...

    def release(self) -> None: ...

    def __call__(self, image: Image) -> Labels:
        return image[:, :, 0] // 100


def test_tiles_are_planned_by_what_the_engine_holds() -> None:
    local, averaging = build("unet", classes=6), build("deeplabv3plus", classes=6)
    for model, overlap, larger in (
        (local, "exact", True),
        (local, "blend", False),  # averages and blending are left to torch
        (averaging, "exact", False),
        (averaging, 256, True),
    ):
        options = TileOptions(overlap, core=1024)
        torch_alone = TiledNetwork(model, (9000, 9000), options=options).memory
        with_engine = TiledNetwork(model, (9000, 9000), options=options, engine=Hundreds()).memory
        assert (with_engine < 0.75 * torch_alone) == larger
        assert with_engine <= torch_alone


def test_an_engine_takes_the_place_of_the_network() -> None:
    model = network(*LOCAL["unet_coarse"])
    tiled = TiledNetwork(model, (70, 80), engine=Hundreds())
    image = picture(70, 80)
    assert np.array_equal(next(tiled.run(ArrayReader(image))).labels, image[:, :, 0] // 100)


class Holed(ArrayReader):
    """No data in the first 100 rows and at column 5."""

    def read(self, box: Box) -> Window:
        empty = np.zeros(self.size, bool)
        empty[:100] = True
        empty[:, 5] = True
        return Window(super().read(box).image, empty[box.within(Box(0, 0, *self.size))])


@pytest.mark.parametrize("overlap", ["exact", "blend"])
def test_no_data_in_is_no_data_out(overlap: str, small_blocks: Callable[..., TiledNetwork]) -> None:
    model = network(*LOCAL["unet_coarse"])
    image = picture(260, 70)
    tiled = small_blocks(model, (260, 70), BLOCK, overlap=overlap)
    if overlap == "blend":
        tiled.plan = plan_tiles((260, 70), stride=32, halo=(32, 32), core=BLOCK, block=BLOCK)
    for piece in tiled.run(Holed(image), want=Wanted(confidence=True)):
        core = piece.tile.core
        empty = np.zeros((260, 70), bool)
        empty[:100] = True
        empty[:, 5] = True
        part = empty[core.within(Box(0, 0, 260, 70))]
        assert ((piece.labels == 255) == part).all()
        assert piece.confidence is not None
        assert ((piece.confidence == 0) == part).all()
        assert piece.network or core.bottom <= 100 or overlap == "blend"


def test_blending_is_a_weighted_mean() -> None:
    """Against sums over the whole raster in float64, with weights written down from their definition."""
    rng = np.random.default_rng(0)
    plan = plan_tiles((150, 90), stride=4, halo=(8, 8), core=16, block=16)
    shares = {tile[:2]: rng.random((3, tile.window.height, tile.window.width), np.float32) for tile in plan}
    total, weights = np.zeros((3, 150, 90)), np.zeros((150, 90))
    for tile in plan:
        sides = []
        for axis in (0, 1):
            places = np.arange(tile.window[axis], tile.window[axis + 2]) + 0.5
            fade = np.ones(len(places))
            if tile.core[axis] > 0:
                fade = np.minimum(fade, (places - tile.core[axis] + 8) / 16)
            if tile.core[axis + 2] < plan.size[axis]:
                fade = np.minimum(fade, (tile.core[axis + 2] + 8 - places) / 16)
            sides.append(fade)
        place = (slice(tile.window.top, tile.window.bottom), slice(tile.window.left, tile.window.right))
        total[(slice(None), *place)] += shares[tile[:2]] * sides[0][:, None] * sides[1]
        weights[place] += sides[0][:, None] * sides[1]
    assert np.allclose(weights, 1)
    for start in (0, 3):
        blender, rows = Blender(plan, 3, start), Rows(plan, start, plan.rows[start].start)
        found = {}
        for row in range(start, len(plan.rows)):
            for tile in plan.in_row(row):
                blender.add(tile, shares[tile[:2]])
            top, labels, sure = blender.finish()
            skipped = max(0, rows.top - top) if not rows.parts else 0
            found |= {tile: (a, b) for tile, a, b in rows.add(labels[skipped:], sure[skipped:])}
        later = [tile for tile in plan if tile.row > start or start == 0]
        for tile in later:
            part = (slice(None), *tile.core.within(Box(0, 0, 150, 90)))
            assert np.allclose(found[tile][1], total[part].max(0), atol=1e-5)
            clear = np.diff(np.sort(total[part], axis=0)[-2:], axis=0)[0] > 1e-4
            assert (found[tile][0] == total[part].argmax(0))[clear].all()
