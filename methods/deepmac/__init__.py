"""DeepMAC in its Mask R-CNN form: a deep, class-agnostic mask head trained on annotated boxes."""

from harness.contract import Card, Method, Part

METHOD = Method(
    name="deepmac",
    card=Card(
        title="The surprising impact of mask-head architecture on novel class segmentation (Deep Mask-RCNN)",
        paper="Birodkar, Lu, Li, Rathod, Huang",
        year=2021,
        venue="ICCV",
        url="https://arxiv.org/abs/2104.00613",
        changes="replaces the mask head by an hourglass of 10 to 100 layers (or a ResNet of 4 to 20) on a 32x32 crop "
        "with one 64x64 mask for all classes, trained on annotated boxes alone instead of proposals",
        departures=(
            "preset size small: depth 10, width 32 instead of 64, a 16x16 crop (32x32 masks) and 12 boxes an image "
            "and step, so that a step costs no more than the default head's",
            "at most max_train_boxes annotated boxes an image and step (100, drawn at random): images hold hundreds "
            "of cells; the paper takes all",
            "batch norm averages with momentum 0.1 (PyTorch's meaning) throughout; the released code has 0.9 in the "
            "hourglass and 0.01 after it, too jumpy or too slow for short training; a channel with a single value is "
            "normalised by the running statistics",
            "targets are the masks averaged over the cells of the 64x64 grid, not a stored 112x112 crop resized; "
            "RoIAlign samples adaptively, not 2x2 a cell",
            "jitter of the training boxes is an option, off as in the paper",
        ),
        published={
            "mask head parameters, hourglass 52": "23,606,145",
            "hourglass parameters on 256 channels, depth 10 / 20 / 52": "1,723,776 / 5,649,152 / 23,573,120",
            "mask mAP on non-VOC classes, masks of VOC classes only, R50": "25.9 default head, 33.1 hourglass 52",
            "the same, hourglass 52, R101 / SpineNet-143": "34.4 / 38.7",
        },
    ),
    parts={
        "mask_head": Part(
            "DeepMAC hourglass",
            "methods.deepmac.mask_head:build",
            {"network": "hourglass", "depth": 52, "width": 64, "crop": 32, "norm": "BN", "max_train_boxes": 100},
            sizes={"small": {"depth": 10, "width": 32, "crop": 16, "max_train_boxes": 12}},
        )
    },
)
