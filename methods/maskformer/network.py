"""MaskFormer's network from the package transformers, started as the authors' code starts it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, ResNetConfig, SwinConfig

from methods.maskformer import MaskFormerOptions

STRIDE = 32
"""Of the coarsest map. Sides of the input are multiples of it."""

HEADS = 8
"""Of attention in the decoder."""


class QueryOutputs(NamedTuple):
    """What the queries are after one layer of the decoder, in float32.

    classes: (B, Q, K + 1) logits, the last of no object.
    masks: (B, Q, H / 4, W / 4) logits.
    """

    classes: Tensor
    masks: Tensor


def build_network(options: MaskFormerOptions, classes: int, queries: int) -> MaskFormerForInstanceSegmentation:
    """The network with so many classes and queries, its weights from torch's generator. Nothing is downloaded."""
    width = options.width
    config = MaskFormerConfig(
        fpn_feature_size=width,
        mask_feature_size=width,
        no_object_weight=options.no_object_weight,
        backbone_config=_backbone(options.backbone),
        decoder_config=DetrConfig(
            d_model=width,
            num_queries=queries,
            decoder_layers=options.decoder_layers,
            decoder_ffn_dim=8 * width,
            decoder_attention_heads=HEADS,
        ),
        num_labels=classes,
    )
    network = MaskFormerForInstanceSegmentation(config)
    _start(network)
    return network


def _backbone(name: str) -> ResNetConfig | SwinConfig:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    if name == "swin_t":
        return SwinConfig(out_features=stages, drop_path_rate=0.3)
    if name == "resnet50":
        return ResNetConfig(out_features=stages)
    return ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=stages,
    )


def _start(network: MaskFormerForInstanceSegmentation) -> None:
    """New queries of unit variance, Xavier weights in the decoder, and a pyramid that is drawn like convolutions."""
    parts = network.model.transformer_module
    for module in parts.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    nn.init.normal_(parts.queries_embedder.weight)
    for module in network.model.pixel_level_module.decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=1)


def query_outputs(
    network: MaskFormerForInstanceSegmentation, pixels: Tensor, last_only: bool = False
) -> list[QueryOutputs]:
    """What the queries are after each layer of the decoder, the last one last.

    Args:
        network: Of `build_network`.
        pixels: (B, 3, H, W) normalised, H and W multiples of STRIDE.
        last_only: After the last layer alone, as prediction needs it.
    """
    model = network.model
    found = model.pixel_level_module(pixels, output_hidden_states=False)
    decoder = model.transformer_module.decoder
    hidden = model.transformer_module(found.encoder_last_hidden_state, output_hidden_states=True).hidden_states
    # the last one has been normalised; the first one is the input
    earlier = [] if last_only else [decoder.layernorm(states) for states in hidden[1:-1]]
    layers = torch.stack([*earlier, hidden[-1]])
    classes = network.class_predictor(layers)
    masks = torch.einsum("lbqc,bchw->lbqhw", network.mask_embedder(layers), found.decoder_last_hidden_state)
    return [QueryOutputs(c.float(), m.float()) for c, m in zip(classes, masks, strict=True)]
