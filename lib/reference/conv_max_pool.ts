/**
 * conv_max_pool and its gradient by way of all outputs of the convolution. A window is 2x2 outputs; the places of the
 * largest lie in blocks of 16 images: [block][channel][window][image of the block].
 */

import { blockImages, type KernelSizes } from "../backend/abi.js";
import type { Operand, Operands } from "../backend/contract.js";
import { activate, passesGradient } from "./activation.js";
import { conv, conv_input_grad, conv_weight_grad, volume } from "./conv.js";

type ConvSizes = KernelSizes<"conv_max_pool">;

const noPlace = 4;

const operand = (array: Float64Array): Operand => ({ array, offset: 0 });

/** Calls `visit` for every window of every image: the window's number, its first output, and where its place lies. */
function forEachWindow(s: ConvSizes, visit: (window: number, output: number, place: number) => void): void {
  const [, height, width] = s.out;
  const rows = Math.floor(height / 2);
  const columns = Math.floor(width / 2);
  let window = 0;
  for (let n = 0; n < s.batch; n++) {
    for (let o = 0; o < s.out_channels; o++) {
      const plane = (n * s.out_channels + o) * height * width;
      const block = (Math.floor(n / blockImages) * s.out_channels + o) * rows * columns;
      for (let h = 0; h < rows; h++) {
        for (let w = 0; w < columns; w++) {
          const place = (block + h * columns + w) * blockImages + (n % blockImages);
          visit(window++, plane + 2 * h * width + 2 * w, place);
        }
      }
    }
  }
}

export function conv_max_pool(s: ConvSizes, [x, w, bias, y, place]: Operands<"conv_max_pool">): number {
  const outputs = new Float64Array(s.batch * s.out_channels * volume(s.out));
  conv({ ...s, activation: 0 }, [x, w, bias, null, operand(outputs)]);
  const width = s.out[2];
  place.array.fill(noPlace, place.offset, place.offset + placesOf(s));
  const value = new Float64Array(1);
  forEachWindow(s, (window, output, at) => {
    let best = 0;
    value[0] = outputs[output]!;
    for (let i = 1; i < 4; i++) {
      const other = outputs[output + (i >> 1) * width + (i & 1)]!;
      if (other > value[0]! || (Number.isNaN(other) && !Number.isNaN(value[0]!))) {
        value[0] = other;
        best = i;
      }
    }
    activate(value, 1, s.activation);
    y.array[y.offset + window] = value[0]!;
    place.array[place.offset + at] = passesGradient(value[0]!, s.activation) ? best : noPlace;
  });
  return 0;
}

function placesOf(s: ConvSizes): number {
  const windows = Math.floor(s.out[1] / 2) * Math.floor(s.out[2] / 2);
  return Math.ceil(s.batch / blockImages) * blockImages * s.out_channels * windows;
}

export function conv_max_pool_grad(
  s: KernelSizes<"conv_max_pool_grad">,
  [x, w, place, dy, dx, dw, dbias]: Operands<"conv_max_pool_grad">,
): number {
  const spread = new Float64Array(s.batch * s.out_channels * volume(s.out));
  const width = s.out[2];
  forEachWindow(s, (window, output, at) => {
    const i = place.array[place.offset + at]!;
    if (i >= 0 && i < noPlace) spread[output + (i >> 1) * width + (i & 1)] = dy.array[dy.offset + window]!;
  });
  conv_weight_grad(s, [x, operand(spread), dw, dbias]);
  if (dx !== null && w !== null) conv_input_grad(s, [operand(spread), w, null, dx]);
  return 0;
}
