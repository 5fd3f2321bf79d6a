import { FormatError } from "../core/errors.js";
import type { Source } from "./file.js";

/** Refuses PyTorch's own files (pickles, since 1.6 inside a zip) and NumPy's, and says how to get at what they hold. */
export function refusePickle(source: Source): void {
  if (source.size < 4) return;
  const head = new Uint8Array(Math.min(source.size, 64));
  source.read(0, head);
  // A safetensors header of 640, 896, ... bytes begins as a pickle does; but then its 8 bytes of length and a { follow.
  if (head[8] === 0x7b && head.subarray(4, 8).every((byte) => byte === 0)) return;
  const zip = head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4; // "PK" 3 4
  const pickle = head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5; // protocol 2 to 5
  const numpy = head[0] === 0x93 && String.fromCharCode(...head.subarray(1, 6)) === "NUMPY";
  if (numpy) throw new FormatError(`${source.name}: this is a NumPy file; read it with loadNpy`);
  if (zip && firstName(head).endsWith(".npy"))
    throw new FormatError(`${source.name}: this is a NumPy archive; read it with loadNpz`);
  if (!zip && !pickle) return;
  const from = JSON.stringify(source.name);
  const to = JSON.stringify(`${source.name.replace(/\.(pt|pth|bin|ckpt|pkl)$/i, "")}.safetensors`);
  throw new FormatError(
    `${source.name}: this is a PyTorch pickle, which runs code when it is opened, so it is not read here. Convert it once: ` +
      `python3 -c 'import torch, safetensors.torch as s; d = torch.load(${from}, map_location="cpu"); ` +
      `s.save_file({k: v.contiguous().clone() for k, v in d.items()}, ${to})'`,
  );
}

/** The name of a zip's first entry, as far as it stands in the first bytes. */
function firstName(head: Uint8Array): string {
  const length = head[26]! + 256 * head[27]!;
  return String.fromCharCode(...head.subarray(30, 30 + length));
}
