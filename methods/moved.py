"""Where parts of recipes have moved, so that runs recorded by earlier versions can still be read."""

MOVED = {
    "harness.augment.baseline:build": "methods.mask_rcnn.augment:build",
    "harness.augment.copy_paste:build": "methods.copy_paste.transform:build",
    "harness.augment.geometric:build": "methods.geometric.transform:build",
    "methods.engines.detectron2_rcnn:build": "methods.frameworks.detectron2.rcnn:build",
    "methods.engines.detectron2_resnet:build": "methods.frameworks.detectron2.resnet:build",
    "methods.engines.torchvision_rcnn:build": "methods.frameworks.torchvision.rcnn:build",
    "methods.nets.container:build": "methods.container.backbone:build",
    "methods.nets.deepmac_head:build": "methods.deepmac.mask_head:build",
    "methods.nets.fcn_mask_head:build": "methods.mask_rcnn.mask_head:build",
    "methods.nets.implicit_pointrend:build": "methods.implicit_pointrend.mask_head:build",
    "methods.nets.points:build": "methods.pointsup.supervision:build",
    "methods.nets.spinenet:build": "methods.spinenet.backbone:build",
    "methods.nets.supervision:build": "methods.shared.supervision:build",
    "methods.nets.timm_backbone:build": "methods.timm_backbone.backbone:build",
}
"""A factory as a recipe of an earlier version names it, and where it is now."""
