"""Layers of MuQ after the spectrogram: residual convolutions, and a conformer with rotary positions.

The conformer (Gulati et al., arXiv 2005.08100) computes what transformers' Wav2Vec2ConformerEncoder does. Parameters have
the checkpoint's names. Call `fold_batch_norms` after loading and before `forward`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from keybed.extract.encoders.torch.rotary import rotate, rotation_rates, turns


class ResidualBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1 x)))) + bn3(conv3 x)), which halves both axes; 3 × 3 convolutions."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.conv3 = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(n_out) for _ in range(3))

    def fold_batch_norms(self) -> None:
        """Fold the scale and shift of each batch norm into its convolution."""
        self.conv1, self.conv2, self.conv3 = (
            fuse_conv_bn_eval(conv, norm)
            for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        )
        del self.bn1, self.bn2, self.bn3

    def forward(self, x_BxCxMxT: Tensor) -> Tensor:
        """(B, C, M, T) to (B, C', ⌈M/2⌉, ⌈T/2⌉)."""
        inner = self.conv2(F.relu_(self.conv1(x_BxCxMxT)))
        return F.relu_(inner.add_(self.conv3(x_BxCxMxT)))


class Convolutions(nn.Module):
    """Log-mel spectrograms (B, mels, T) to state 0, (B, ⌈T/4⌉, width).

    rows_at_once: clips per step; each tensor of the first block takes 66 MB per clip of 10 s.
    """

    def __init__(self, architecture: dict[str, Any], rows_at_once: int = 1) -> None:
        super().__init__()
        channels = architecture["conv_dim"]
        self.rows_at_once = rows_at_once
        self.conv = nn.Sequential(ResidualBlock(1, channels), ResidualBlock(channels, channels))
        self.linear = nn.Linear(channels * -(-architecture["n_mels"] // 4), architecture["hidden_size"])

    def fold_batch_norms(self) -> None:
        """See the module's description."""
        for block in self.conv:
            block.fold_batch_norms()  # type: ignore[operator]

    def forward(self, mel_BxMxT: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self._few(part) for part in mel_BxMxT.split(self.rows_at_once)])

    def _few(self, mel_BxMxT: Tensor) -> Tensor:
        x_BxCxMxT = self.conv(mel_BxMxT[:, None])
        return self.linear(x_BxCxMxT.permute(0, 3, 1, 2).flatten(2))


class FeedForward(nn.Module):
    """Linear, swish, linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.intermediate_dense, self.output_dense = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to (…, width)."""
        return self.output_dense(F.silu(self.intermediate_dense(x), inplace=True))


class Attention(nn.Module):
    """Self-attention. Rotary positions act on the input of the query and key projections, not on their output."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x_BxTxD: Tensor, turns_2xTx1xd: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D). turns: cosines and sines, float32 (2, T, 1, head width)."""
        heads = (*x_BxTxD.shape[:2], self.n_heads, -1)
        rotated_BxTxD = rotate(x_BxTxD.view(heads), turns_2xTx1xd).flatten(2)
        parts = self.linear_q(rotated_BxTxD), self.linear_k(rotated_BxTxD), self.linear_v(x_BxTxD)
        query, key, value = (part.view(heads).transpose(1, 2) for part in parts)
        return self.linear_out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class ConvolutionModule(nn.Module):
    """Layer norm, pointwise to twice the width, GLU, depthwise over time, batch norm, swish, pointwise."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.batch_norm = nn.BatchNorm1d(width)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1, bias=False)

    def fold_batch_norms(self) -> None:
        """See the module's description."""
        self.depthwise_conv = fuse_conv_bn_eval(self.depthwise_conv, self.batch_norm)
        del self.batch_norm

    def forward(self, x_BxTxD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        gated = F.glu(F.linear(self.layer_norm(x_BxTxD), self.pointwise_conv1.weight[:, :, 0]), dim=-1)
        over_time = self.depthwise_conv(gated.transpose(1, 2)).transpose(1, 2)
        return F.linear(F.silu(over_time, inplace=True), self.pointwise_conv2.weight[:, :, 0])


class ConformerLayer(nn.Module):
    """Feed-forward (halved), attention, convolution, feed-forward (halved), each added to its input; then a layer norm."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width, inner = architecture["hidden_size"], architecture["intermediate_size"]
        # These norms have torch's default eps; the configuration's eps is for the conformer's final norm only.
        self.ffn1_layer_norm, self.ffn1 = nn.LayerNorm(width), FeedForward(width, inner)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, architecture["num_attention_heads"])
        self.conv_module = ConvolutionModule(width, architecture["conv_depthwise_kernel_size"])
        self.ffn2_layer_norm, self.ffn2 = nn.LayerNorm(width), FeedForward(width, inner)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn(self.self_attn_layer_norm(x), turns)
        x = x + self.conv_module(x)
        return self.final_layer_norm(x + 0.5 * self.ffn2(self.ffn2_layer_norm(x)))


class Conformer(nn.Module):
    """State 0 (B, T, D) in; state 0 and the output of every layer out, the last one after a final layer norm."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width = architecture["hidden_size"]
        self.embed_positions = nn.Module()
        head_width = width // architecture["num_attention_heads"]
        rates_d = rotation_rates(head_width, architecture["rotary_embedding_base"])
        self.embed_positions.register_buffer("inv_freq", rates_d)
        self.layers = nn.ModuleList(ConformerLayer(architecture) for _ in range(architecture["num_hidden_layers"]))
        self.layer_norm = nn.LayerNorm(width, architecture["layer_norm_eps"])

    def fold_batch_norms(self) -> None:
        """See the module's description."""
        for layer in self.layers:
            layer.conv_module.fold_batch_norms()  # type: ignore[operator,union-attr]

    def forward(self, state_BxTxD: Tensor) -> Iterator[Tensor]:
        """See the class."""
        # (2, T, 1, head width): the same for every head.
        turns_2xTx1xd = turns(state_BxTxD.shape[1], self.embed_positions.inv_freq)[:, :, None]  # type: ignore[arg-type]
        for layer in self.layers:
            yield state_BxTxD
            state_BxTxD = layer(state_BxTxD, turns_2xTx1xd)
        yield self.layer_norm(state_BxTxD)
