/** im2col and its transpose col2im: columns are [batch, in_channels * kernel taps, output positions]. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import { volume } from "./conv.js";
import { firstInside, pastInside } from "./window.js";

export function im2col(s: KernelSizes<"im2col">, [x, y]: Operands<"im2col">): number {
  const [inDepth, inHeight, inWidth] = s.in;
  const [kernelDepth, kernelHeight, kernelWidth] = s.kernel;
  const [outDepth, outHeight, outWidth] = s.out;
  let yRow = y.offset;
  for (let plane = 0; plane < s.batch * s.in_channels; plane++) {
    for (let kd = 0; kd < kernelDepth; kd++) {
      for (let kh = 0; kh < kernelHeight; kh++) {
        for (let kw = 0; kw < kernelWidth; kw++) {
          const shift = kw * s.dilation[2] - s.pad[2];
          const first = firstInside(shift, s.stride[2]);
          const past = pastInside(shift, s.stride[2], inWidth, outWidth);
          for (let pd = 0; pd < outDepth; pd++) {
            const depth = pd * s.stride[0] - s.pad[0] + kd * s.dilation[0];
            for (let ph = 0; ph < outHeight; ph++) {
              const height = ph * s.stride[1] - s.pad[1] + kh * s.dilation[1];
              y.array.fill(0, yRow, yRow + outWidth);
              if (depth >= 0 && depth < inDepth && height >= 0 && height < inHeight) {
                const xRow = x.offset + ((plane * inDepth + depth) * inHeight + height) * inWidth + shift;
                for (let pw = first; pw < past; pw++) y.array[yRow + pw] = x.array[xRow + pw * s.stride[2]]!;
              }
              yRow += outWidth;
            }
          }
        }
      }
    }
  }
  return 0;
}

/** Adds every column entry to the input position it was taken from; positions no window reaches get 0. */
export function col2im(s: KernelSizes<"col2im">, [x, y]: Operands<"col2im">): number {
  const [inDepth, inHeight, inWidth] = s.in;
  const [kernelDepth, kernelHeight, kernelWidth] = s.kernel;
  const [outDepth, outHeight, outWidth] = s.out;
  const sums = new Float64Array(volume(s.in));
  let xRow = x.offset;
  for (let plane = 0; plane < s.batch * s.in_channels; plane++) {
    sums.fill(0);
    for (let kd = 0; kd < kernelDepth; kd++) {
      for (let kh = 0; kh < kernelHeight; kh++) {
        for (let kw = 0; kw < kernelWidth; kw++) {
          const shift = kw * s.dilation[2] - s.pad[2];
          const first = firstInside(shift, s.stride[2]);
          const past = pastInside(shift, s.stride[2], inWidth, outWidth);
          for (let pd = 0; pd < outDepth; pd++) {
            const depth = pd * s.stride[0] - s.pad[0] + kd * s.dilation[0];
            for (let ph = 0; ph < outHeight; ph++) {
              const height = ph * s.stride[1] - s.pad[1] + kh * s.dilation[1];
              if (depth >= 0 && depth < inDepth && height >= 0 && height < inHeight) {
                const yRow = (depth * inHeight + height) * inWidth + shift;
                for (let pw = first; pw < past; pw++) sums[yRow + pw * s.stride[2]]! += x.array[xRow + pw]!;
              }
              xRow += outWidth;
            }
          }
        }
      }
    }
    y.array.set(sums, y.offset + plane * sums.length);
  }
  return 0;
}
