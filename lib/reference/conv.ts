/**
 * conv, conv_input_grad, conv_weight_grad: every tap of every kernel against the rows of input and output it joins.
 * Loops are named after what they count: n image, o output channel, c input channel of the group, k kernel tap, p output
 * position; the dimensions are depth, height, width.
 */

import type { KernelSizes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import { activate } from "./activation.js";
import { firstInside, pastInside } from "./window.js";

type ConvSizes = KernelSizes<"conv">;

export function volume(size: readonly [number, number, number]): number {
  return size[0] * size[1] * size[2];
}

export function conv(s: ConvSizes, [x, w, bias, residual, y]: Operands<"conv">): number {
  const [inDepth, inHeight, inWidth] = s.in;
  const [kernelDepth, kernelHeight, kernelWidth] = s.kernel;
  const [strideDepth, strideHeight, strideWidth] = s.stride;
  const [dilationDepth, dilationHeight, dilationWidth] = s.dilation;
  const [padDepth, padHeight, padWidth] = s.pad;
  const [outDepth, outHeight, outWidth] = s.out;
  const groupInputs = s.in_channels / s.groups;
  const groupOutputs = s.out_channels / s.groups;
  const row = new Float64Array(outWidth);
  let yRow = 0;
  for (let n = 0; n < s.batch; n++) {
    for (let o = 0; o < s.out_channels; o++) {
      const firstChannel = Math.floor(o / groupOutputs) * groupInputs;
      for (let pd = 0; pd < outDepth; pd++) {
        for (let ph = 0; ph < outHeight; ph++) {
          row.fill(bias === null ? 0 : bias.array[bias.offset + o]!);
          let tap = w.offset + o * groupInputs * volume(s.kernel);
          for (let c = 0; c < groupInputs; c++) {
            const plane = n * s.in_channels + firstChannel + c;
            for (let kd = 0; kd < kernelDepth; kd++) {
              const depth = pd * strideDepth - padDepth + kd * dilationDepth;
              for (let kh = 0; kh < kernelHeight; kh++) {
                const height = ph * strideHeight - padHeight + kh * dilationHeight;
                if (depth < 0 || depth >= inDepth || height < 0 || height >= inHeight) {
                  tap += kernelWidth;
                  continue;
                }
                const xRow = x.offset + ((plane * inDepth + depth) * inHeight + height) * inWidth;
                for (let kw = 0; kw < kernelWidth; kw++) {
                  const scale = w.array[tap++]!;
                  const shift = kw * dilationWidth - padWidth;
                  const past = pastInside(shift, strideWidth, inWidth, outWidth);
                  for (let pw = firstInside(shift, strideWidth); pw < past; pw++) {
                    row[pw]! += scale * x.array[xRow + shift + pw * strideWidth]!;
                  }
                }
              }
            }
          }
          if (residual !== null) {
            for (let pw = 0; pw < outWidth; pw++) row[pw]! += residual.array[residual.offset + yRow + pw]!;
          }
          activate(row, outWidth, s.activation);
          y.array.set(row, y.offset + yRow);
          yRow += outWidth;
        }
      }
    }
  }
  return 0;
}

export function conv_input_grad(
  s: KernelSizes<"conv_input_grad">,
  [dy, w, bias, dx]: Operands<"conv_input_grad">,
): number {
  const [inDepth, inHeight, inWidth] = s.in;
  const [kernelDepth, kernelHeight, kernelWidth] = s.kernel;
  const [strideDepth, strideHeight, strideWidth] = s.stride;
  const [dilationDepth, dilationHeight, dilationWidth] = s.dilation;
  const [padDepth, padHeight, padWidth] = s.pad;
  const [outDepth, outHeight, outWidth] = s.out;
  const groupInputs = s.in_channels / s.groups;
  const groupOutputs = s.out_channels / s.groups;
  const plane = new Float64Array(volume(s.in));
  for (let n = 0; n < s.batch; n++) {
    for (let channel = 0; channel < s.in_channels; channel++) {
      const firstOutput = Math.floor(channel / groupInputs) * groupOutputs;
      plane.fill(bias === null ? 0 : bias.array[bias.offset + channel]!);
      for (let o = firstOutput; o < firstOutput + groupOutputs; o++) {
        let tap = w.offset + (o * groupInputs + (channel % groupInputs)) * volume(s.kernel);
        for (let kd = 0; kd < kernelDepth; kd++) {
          for (let kh = 0; kh < kernelHeight; kh++) {
            for (let kw = 0; kw < kernelWidth; kw++) {
              const scale = w.array[tap++]!;
              const shift = kw * dilationWidth - padWidth;
              const first = firstInside(shift, strideWidth);
              const past = pastInside(shift, strideWidth, inWidth, outWidth);
              for (let pd = 0; pd < outDepth; pd++) {
                const depth = pd * strideDepth - padDepth + kd * dilationDepth;
                if (depth < 0 || depth >= inDepth) continue;
                for (let ph = 0; ph < outHeight; ph++) {
                  const height = ph * strideHeight - padHeight + kh * dilationHeight;
                  if (height < 0 || height >= inHeight) continue;
                  const dxRow = (depth * inHeight + height) * inWidth + shift;
                  const dyRow = dy.offset + (((n * s.out_channels + o) * outDepth + pd) * outHeight + ph) * outWidth;
                  for (let pw = first; pw < past; pw++) {
                    plane[dxRow + pw * strideWidth]! += scale * dy.array[dyRow + pw]!;
                  }
                }
              }
            }
          }
        }
      }
      dx.array.set(plane, dx.offset + (n * s.in_channels + channel) * plane.length);
    }
  }
  return 0;
}

export function conv_weight_grad(
  s: KernelSizes<"conv_weight_grad">,
  [x, dy, dw, dbias]: Operands<"conv_weight_grad">,
): number {
  const [inDepth, inHeight, inWidth] = s.in;
  const [kernelDepth, kernelHeight, kernelWidth] = s.kernel;
  const [strideDepth, strideHeight, strideWidth] = s.stride;
  const [dilationDepth, dilationHeight, dilationWidth] = s.dilation;
  const [padDepth, padHeight, padWidth] = s.pad;
  const [outDepth, outHeight, outWidth] = s.out;
  const groupInputs = s.in_channels / s.groups;
  const groupOutputs = s.out_channels / s.groups;
  let tap = dw.offset;
  for (let o = 0; o < s.out_channels; o++) {
    const firstChannel = Math.floor(o / groupOutputs) * groupInputs;
    for (let c = 0; c < groupInputs; c++) {
      for (let kd = 0; kd < kernelDepth; kd++) {
        for (let kh = 0; kh < kernelHeight; kh++) {
          for (let kw = 0; kw < kernelWidth; kw++) {
            const shift = kw * dilationWidth - padWidth;
            const first = firstInside(shift, strideWidth);
            const past = pastInside(shift, strideWidth, inWidth, outWidth);
            let sum = 0;
            for (let n = 0; n < s.batch; n++) {
              const plane = n * s.in_channels + firstChannel + c;
              for (let pd = 0; pd < outDepth; pd++) {
                const depth = pd * strideDepth - padDepth + kd * dilationDepth;
                if (depth < 0 || depth >= inDepth) continue;
                for (let ph = 0; ph < outHeight; ph++) {
                  const height = ph * strideHeight - padHeight + kh * dilationHeight;
                  if (height < 0 || height >= inHeight) continue;
                  const xRow = x.offset + ((plane * inDepth + depth) * inHeight + height) * inWidth + shift;
                  const dyRow = dy.offset + (((n * s.out_channels + o) * outDepth + pd) * outHeight + ph) * outWidth;
                  for (let pw = first; pw < past; pw++) {
                    sum += dy.array[dyRow + pw]! * x.array[xRow + pw * strideWidth]!;
                  }
                }
              }
            }
            dw.array[tap++] = sum;
          }
        }
      }
    }
  }
  if (dbias !== null) {
    const positions = volume(s.out);
    for (let o = 0; o < s.out_channels; o++) {
      let sum = 0;
      for (let n = 0; n < s.batch; n++) {
        const start = dy.offset + (n * s.out_channels + o) * positions;
        for (let p = 0; p < positions; p++) sum += dy.array[start + p]!;
      }
      dbias.array[dbias.offset + o] = sum;
    }
  }
  return 0;
}
