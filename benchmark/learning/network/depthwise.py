"""Dilated depthwise convolutions on CUDA, computed as undilated ones on subgrids.

cuDNN has fast kernels for undilated depthwise convolutions in channels-last layout and a slow, general one for dilated
ones. The cells that a convolution of dilation d combines have the same row and column modulo d: on each of these d * d
subgrids it is an ordinary convolution. DeepLabv3+ has such layers in ASPP and in the encoder's last stages.

Axes: B images, C channels, H W cells, h w cells of a subgrid, k side of the kernel.

[Chen2017]  Chen, Papandreou, Kokkinos, Murphy, Yuille. DeepLab: Semantic Image Segmentation with Deep Convolutional
            Nets, Atrous Convolution, and Fully Connected CRFs. TPAMI 2017. Section 3.1: convolution by subsampling.
"""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SubgridConv", "convolve_subgrids", "use_subgrids"]


class SubgridConv(nn.Conv2d):
    """A depthwise convolution that takes the way over subgrids on CUDA; elsewhere `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W), which has the same size."""
        if not input.is_cuda:
            return super().forward(input)
        return convolve_subgrids(input, self.weight, self.bias, self.dilation[0])


def convolve_subgrids(map_BCHW: Tensor, weight_C1kk: Tensor, bias_C: Tensor | None, dilation: int) -> Tensor:
    """Return the depthwise convolution of stride 1 whose padding keeps the size, (B, C, H, W), channels-last.

    Equal to `F.conv2d(..., dilation=dilation)` up to the order in which k * k products are added.
    """
    batch, channels, height, width = map_BCHW.shape
    rows, columns = -(-height // dilation), -(-width // dilation)
    bottom, right = rows * dilation - height, columns * dilation - width
    map_BHWC = F.pad(map_BCHW.permute(0, 2, 3, 1), (0, 0, 0, right, 0, bottom))
    # A cell (y, x) lies in subgrid (y mod d, x mod d), there at (y div d, x div d).
    divided = map_BHWC.reshape(batch, rows, dilation, columns, dilation, channels).permute(0, 2, 4, 1, 3, 5)
    subgrids = divided.reshape(batch * dilation * dilation, rows, columns, channels).permute(0, 3, 1, 2)
    found = F.conv2d(subgrids, weight_C1kk, bias_C, padding=weight_C1kk.shape[-1] // 2, groups=channels)
    parts = found.permute(0, 2, 3, 1).reshape(batch, dilation, dilation, rows, columns, channels)
    joined = parts.permute(0, 3, 1, 4, 2, 5).reshape(batch, rows * dilation, columns * dilation, channels)
    return joined[:, :height, :width].permute(0, 3, 1, 2)


def use_subgrids(network: nn.Module) -> nn.Module:
    """Let the dilated depthwise convolutions of a network take the way over subgrids; return the network."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_eligible(module):
            module.__class__ = SubgridConv
    return network


def _is_eligible(module: nn.Conv2d) -> bool:
    (height, width), (down, across) = module.kernel_size, module.dilation
    return (
        module.groups == module.in_channels == module.out_channels
        and height == width
        and height % 2 == 1
        and down == across > 1
        and module.stride == (1, 1)
        and module.padding_mode == "zeros"
        and module.padding == (down * (height // 2),) * 2
    )
