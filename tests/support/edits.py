# ruff: noqa: E501  a line an edit
"""Edits of the project's source: those that change a number, and those that do not.

Each is (file, text, other text); the text occurs in the file. They are tried on a copy of the tree.
"""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    file: str
    before: str
    after: str


CHANGING = {
    # -- layers -----------------------------------------------------------------------------------------------------
    "padding of the cost embedding": Edit("repro/layers/cost_volume.py", "padding=kernel // 2)", 'padding=kernel // 2, padding_mode="replicate")'),
    "order of two norms in the decoder": Edit("repro/layers/decoder.py", "F.relu(self.norm1(x), inplace=True)", "F.relu(self.norm2(x), inplace=True)"),
    "ignored pixels in the loss": Edit("repro/layers/losses.py", "return total / labelled.sum().clamp(min=1)", "return total / labelled.numel()"),
    "gradient of the binary cross-entropy": Edit("repro/layers/losses.py", "- labelled.to(grad.dtype)", "- 0.9 * labelled.to(grad.dtype)"),
    "resizing of logits in the loss": Edit("repro/layers/losses.py", 'b, mode="linear")', 'b, mode="linear", align_corners=True)'),
    "weights of the background": Edit("repro/layers/mccl.py", "weight = torch.stack([activation, 1 - activation], dim=1)", "weight = torch.stack([activation, 1 - 0.9 * activation], dim=1)"),
    "sign in a contrastive loss": Edit("repro/layers/mccl.py", "(1 - bounded_similarity(f @ f.T, options))", "(bounded_similarity(f @ f.T, options))"),
    "roll of the shifted windows": Edit("repro/layers/window_attention.py", "roll((-shift, -shift), (0, 1))", "roll((-shift, shift), (0, 1))"),
    "positive feature map of class attention": Edit("repro/layers/class_attention.py", "F.elu(qkv[..., : 2 * self.attention.dim]).add_(1)", "F.elu(qkv[..., : 2 * self.attention.dim]).add_(1.01)"),
    "merge of four readings": Edit("repro/layers/ss2d.py", "rows, columns = (y[:, :2] + y[:, 2:].flip(2)).unbind(1)", "rows, columns = (y[:, :2] + y[:, 2:]).unbind(1)"),
    "gradient of the selective scan": Edit("repro/layers/selective_scan.py", "grad_exponent[:, :, 0] = 0", "grad_exponent[:, :, 0] *= 0.5"),
    # -- towers -----------------------------------------------------------------------------------------------------
    "kernel of positions": Edit("repro/clip/positions.py", 'mode="bicubic", align_corners=False, antialias=antialias', 'mode="bilinear", align_corners=False, antialias=antialias'),
    "second residual of the value path": Edit("repro/clip/vit.py", "x = x + block.ls_2(block.mlp(block.ln_2(x)))", "x = x + 0.9 * block.ls_2(block.mlp(block.ln_2(x)))"),
    "length of text features": Edit("repro/clip/text.py", "return F.normalize(x, dim=-1)", "return x"),
    "resizing of images for the tower": Edit("repro/clip/tower.py", 'F.interpolate(images, size=size, mode="bilinear", align_corners=False)', 'F.interpolate(images, size=size, mode="bilinear", align_corners=True)'),
    "warm-up of the tiny CLIP": Edit("repro/mini/clip/optim.py", "weight_decay\": 0.0}]", "weight_decay\": 0.3}]"),
    "momentum of Muon": Edit("repro/mini/clip/optim.py", '"momentum": 0.95', '"momentum": 0.9'),
    "temperature of patches": Edit("repro/mini/clip/model.py", "_PATCH_SCALE = 10.0", "_PATCH_SCALE = 11.0"),
    # -- training ---------------------------------------------------------------------------------------------------
    "betas of AdamW": Edit("repro/training/optim.py", "BETAS = (0.9, 0.999)", "BETAS = (0.9, 0.99)"),
    "end of the cosine": Edit("repro/training/optim.py", "eta_min=0.0", "eta_min=1e-6"),
    "clipping before unscaling": Edit("repro/training/optim.py", "self.max_norm = max_norm if max_norm > 0 else math.inf", "self.max_norm = math.inf"),
    "sampled classes": Edit("repro/training/class_sample.py", "np.random.default_rng(seed).choice", "np.random.default_rng((*seed, 1)).choice"),
    "position of the class sample": Edit("repro/training/step.py", "int(data[\"position\"][0]) - processes.rank()", "int(data[\"position\"][-1]) - processes.rank()"),
    "seed of a method": Edit("repro/methods/build.py", "torch.manual_seed(seed)", "torch.manual_seed(seed + 1)"),
    "order of samples": Edit("repro/training/sampler.py", "np.random.default_rng((self.seed, epoch))", "np.random.default_rng((epoch, self.seed))"),
    "grey of padding": Edit("repro/training/pipeline.py", "PADDING = 128", "PADDING = 127"),
    "share of flips": Edit("repro/training/pipeline.py", "RandomFlip(prob=0.5)", "RandomFlip(prob=0.45)"),
    "photometric distortion left out": Edit("repro/training/pipeline.py", "        PhotoMetricDistortion(),\n", ""),
    # -- evaluation -------------------------------------------------------------------------------------------------
    "cover of overlapping windows": Edit("repro/evaluation/infer.py", "cover[top : top + p.window, left : left + p.window] += 1", "cover[top : top + p.window, left : left + p.window] = 1"),
    "weight of the whole image": Edit("repro/evaluation/infer.py", "total /= 2", "total /= 3"),
    "normaliser over chunks of classes": Edit("repro/evaluation/infer.py", "torch.logaddexp(normaliser, partial)", "torch.maximum(normaliser, partial)"),
    "bound of the pruned arg-max": Edit("repro/evaluation/tiles.py", "bound[c] < least * NEARLY", "bound[c] < least * TWO"),
    "weight of the whole image in the pruned arg-max": Edit("repro/evaluation/tiles.py", "(fused[i, j] + first * (ONE - t) + second * t) * HALF", "fused[i, j] + HALF * (first * (ONE - t) + second * t)"),
    "filter of the test image": Edit("repro/evaluation/infer.py", "Image.Resampling.BILINEAR", "Image.Resampling.BICUBIC"),
    "union of a class": Edit("repro/metrics/miou.py", "union = ground_truth + prediction - intersection", "union = ground_truth + prediction"),
    "fold of the background": Edit("repro/metrics/counts.py", "predicted = np.minimum(predicted, background_index)", "predicted = np.where(predicted > background_index, 0, predicted)"),
    "width of the boundary": Edit("repro/metrics/boundary.py", "DILATION_RATIO = 0.02", "DILATION_RATIO = 0.03"),
    "denominator of the bias": Edit("repro/metrics/bias.py", "int(cross.sum())),", "int(truth.sum() + 1)),"),
    "orientation of photographs": Edit("repro/datasets/images.py", 'return np.array(image.convert("RGB"))', 'return np.array(image.convert("L").convert("RGB"))'),
    # -- data -------------------------------------------------------------------------------------------------------
    "labels of ADE20K": Edit("repro/datasets/sets/ade150.py", "return mask - np.uint8(1)", "return mask - np.uint8(2)"),
    "short side of ADE20K": Edit("repro/datasets/sets/ade847.py", "SHORT_SIDE = 512", "SHORT_SIDE = 528"),
    "codes of ADE20K": Edit("repro/datasets/sets/ade847.py", "(segmentation[..., 0] // 10)", "(segmentation[..., 0] // 9)"),
    "order of painted masks": Edit("repro/datasets/sets/pc59.py", "for annotation in annotations:", "for annotation in reversed(annotations):"),
    "label to ignore": Edit("repro/datasets/sets/pc459.py", "ignore_label=459,", "ignore_label=460,"),
    "a name of COCO-Stuff": Edit("repro/datasets/vocab/coco_stuff171.csv", "1,bicycle,1,thing,", "1,velocipede,1,thing,"),
    "a kind of COCO-Stuff": Edit("repro/datasets/vocab/coco_stuff171.csv", "2,car,2,thing,", "2,car,2,stuff,"),
    "a prompt of PAS-20b": Edit("repro/datasets/vocab/voc20b_prompts.csv", "56,water,stuff", "56,lake,stuff"),
    "two colours": Edit("repro/mini/shapes.py", '_GLASS = "a8d0e6"', '_GLASS = "08d0e6"'),
    "size of an object": Edit("repro/mini/catalogue.py", "zebra < animal : .28", "zebra < animal : .30"),
    "share of upright pictures": Edit("repro/mini/synth.py", "upright = rng.random() < 0.25", "upright = rng.random() < 0.75"),
    # -- methods ----------------------------------------------------------------------------------------------------
    "DiSa: weight of the matching loss": Edit("disa/options.py", "itm_weight: LossWeight = 0.1", "itm_weight: LossWeight = 0.2"),
    "DiSa: mean over heads": Edit("disa/saliency.py", "(grad.clamp(min=0) * attention).mean(dim=1)", "(grad.clamp(min=0) * attention).amax(dim=1)"),
    "DiSa: largest k": Edit("disa/selection.py", "saliency.argsort(dim=-1, descending=True, stable=True)", "saliency.argsort(dim=-1, descending=False, stable=True)"),
    "DiSa: squeeze": Edit("disa/hrm.py", "self.average(average) + self.maximum(maximum)", "self.average(average) + 0.5 * self.maximum(maximum)"),
    "DiSa: kinds of unknown names": Edit("disa/kinds.py", '.get(fold(name), "thing") == "thing"', '.get(fold(name), "stuff") == "thing"'),
    "CAT-Seg: logit of pruned classes": Edit("baselines/catseg/aggregator.py", "PRUNED = -100.0", "PRUNED = -90.0"),
    "CAT-Seg: decay of norms": Edit("repro/layers/groups.py", '"new_norms": {"lr": lr, "weight_decay": 0.0}', '"new_norms": {"lr": lr, "weight_decay": weight_decay}'),
    "CAT-Seg: rate of CLIP": Edit("repro/layers/groups.py", "lr * clip_factor", "lr * clip_factor / 2"),
    "LoGoSeg: prior": Edit("baselines/logoseg/alignment.py", "weights = 1 + strength * (object_prior(features, text) - 1)", "weights = 1 + strength * object_prior(features, text)"),
    "LoGoSeg: norm of the loss": Edit("baselines/logoseg/loss.py", "/ labelled.sum().clamp(min=1)", "/ labelled.numel()"),
    "SynSeg: FiLM": Edit("baselines/synseg/decoder.py", "text * text.shape[-1] ** 0.5", "text"),
    "SynSeg: order of norms": Edit("baselines/synseg/decoder.py", "return self.norm2(x + self.mlp(x))", "return self.norm2(self.mlp(x))"),
    "CLIP: temperature": Edit("baselines/clip/model.py", "return cost * self.clip.logit_scale.to(cost.dtype)", "return cost * 50"),
    "DenseVLM: direction of the divergence": Edit("baselines/densevlm/loss.py", "F.kl_div(own, target,", "F.kl_div(target, own,"),
    "DenseVLM: mixing": Edit("baselines/densevlm/options.py", "mixing: Share = 0.9", "mixing: Share = 0.8"),
    # -- what else is measured --------------------------------------------------------------------------------------
    "regions: order of equals": Edit("repro/metrics/regions/accuracy.py", "(scores > own) | ((scores == own) & earlier)", "(scores > own)"),
    "regions: a prompt": Edit("repro/metrics/regions/prompts.py", '"a painting of {which} {{}}."', '"a drawing of {which} {{}}."'),
    "maps: average precision": Edit("repro/evaluation/maps.py", "values.append(tokens[:, c].sum() / tokens[:, :classes].sum())", "values.append(tokens[:, c].sum() / tokens.sum())"),
    "class signal: shown square": Edit("repro/evaluation/zero_shot.py", "side = min(values.shape[:2])", "side = min(values.shape[:2]) - 8"),
    "learning rate of the miniature": Edit("repro/_configs/profiles/mini.py", "lr=4e-3,", "lr=5e-3,"),
}  # fmt: skip
"""What decides a number, in every package that does."""

NEUTRAL = {
    "a new module": Edit("repro/layers/unused_layer.py", "", "from torch import nn\n\n\nclass Unused(nn.Module):\n    pass\n"),
    "a new file of data": Edit("repro/reports/tables/templates/extra.txt", "", "nothing\n"),
    "a comment": Edit("repro/training/step.py", "        scalars = _scalars(sums)\n", "        # The sums of all parts.\n        scalars = _scalars(sums)\n"),
    "a docstring": Edit("repro/layers/losses.py", "0 where no pixel has a label.", "Zero where no pixel has a label."),
    "a renamed private function": Edit("repro/layers/mccl.py", "_terms(", "_weighted_terms("),
    "a renamed private constant": Edit("repro/training/pipeline.py", "_LONG_PER_SHORT", "_LONGEST"),
    "a renamed private method": Edit("repro/clip/tower.py", "_text_parameters", "_encoder_parameters"),
    "a moved function": Edit("disa/selection.py", "def drawn_saliency(", "def never_called() -> int:\n    return 1\n\n\ndef drawn_saliency("),
    "a function moved to another module": Edit("@move", "repro/training/class_sample.py", "repro/training/sampling_of_classes.py"),
    "a renamed module of a method": Edit("@move", "baselines/logoseg/loss.py", "baselines/logoseg/objective.py"),
    "a module of a shared layer renamed": Edit("@move", "repro/layers/ss2d.py", "repro/layers/state_space.py"),
    "a line of a log": Edit("repro/training/train.py", "    method.eval()\n    training.average", '    training.curve.log.info("ended")\n    method.eval()\n    training.average'),
    "imports in another order": Edit("repro/training/optim.py", "import contextlib\nimport math\n", "import math\nimport contextlib\n"),
    "an import inside a function": Edit("repro/layers/mccl.py", "    with full_precision(foreground.device.type):\n", "    import contextlib\n\n    with full_precision(foreground.device.type):\n"),
    "an annotation": Edit("repro/evaluation/infer.py", "def _device(method: Method) -> torch.device:", "def _device(method):"),
    "an option that is not used": Edit("baselines/logoseg/model.py", "class LoGoSeg(Method):", "UNUSED = 3\n\n\nclass LoGoSeg(Method):"),
    "the text of an error": Edit("repro/training/optim.py", "the gradient norm is {self.grad_norm}", "the norm of the gradient is {self.grad_norm}"),
    "layout": Edit("repro/metrics/miou.py", "    pixels = int(ground_truth.sum())\n", "    pixels = int(\n        ground_truth.sum()\n    )\n"),
    "a local variable renamed": Edit("repro/layers/losses.py", "wanted", "needed"),
    "an equal expression": Edit("repro/layers/losses.py", "return total / labelled.sum().clamp(min=1)", "return total / labelled.sum().clamp(min=1).to(total.dtype)"),
    "the same sum in another order": Edit("repro/metrics/miou.py", "union = ground_truth + prediction - intersection", "union = prediction - intersection + ground_truth"),
    "a loop instead of an expression": Edit("repro/training/pipeline.py", "    side = (settings.crop, settings.crop)\n", "    side = tuple(settings.crop for _ in range(2))\n"),
    "a new branch that is not taken": Edit("disa/saliency.py", "    return (grad.clamp(min=0) * attention).mean(dim=1)", "    if grad.ndim == 9:\n        return grad\n    return (grad.clamp(min=0) * attention).mean(dim=1)"),
    "a constant given a name": Edit("disa/hrm.py", "        self.average = Mlp(dim, SQUEEZE, F.gelu)", "        squeezed = SQUEEZE\n        self.average = Mlp(dim, squeezed, F.gelu)"),
    "a command": Edit("repro/cli/commands/run.py", "def write_files(", "def unused(options: object) -> None:\n    return None\n\n\ndef write_files("),
    "a report": Edit("repro/reports/tables/frame.py", "Several seeds: mean and sample standard deviation.", "Several seeds: their mean and sample standard deviation."),
    "a title": Edit("baselines/catseg/__init__.py", 'title="CAT-Seg"', 'title="CAT-Seg (CVPR 2024)"'),
    "text of the miniature's code": Edit("repro/mini/synth.py", '"""Pictures of a set that drops', '"""Those of a set that drops'),
    "a private name in the miniature": Edit("repro/mini/shapes.py", "_TYRE", "_RUBBER"),
    "a private name in the tiny CLIP": Edit("repro/mini/clip/model.py", "_FIRST_SCALE", "_SCALE_AT_FIRST"),
    "a private name in a rule": Edit("repro/datasets/sets/coco_stuff.py", "_table", "_table_of_coco"),
    "a private name in a measure": Edit("repro/metrics/bias.py", "_KINDS", "_TWO_KINDS"),
}  # fmt: skip
"""What decides no number."""
