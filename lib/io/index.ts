/** Files of tensors. Import it as `io`. */
export { decodeNpy, encodeNpy, loadNpy, saveNpy } from "./npy.js";
export * from "./npz.js";
export {
  decodeSafetensors,
  encodeSafetensors,
  inspectSafetensors,
  loadSafetensors,
  type SafetensorsInfo,
  type SafetensorsOptions,
  saveSafetensors,
} from "./safetensors.js";
