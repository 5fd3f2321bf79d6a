// @ts-check
/** tfjs as a contender: forward on its wasm backend, gradients and training (which wasm has not) on its cpu backend. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { readTensor, sampled, serve } from "./lines.js";

/** @import { ConvTask, Files, GemmTask, NetworkTask } from "../types.js" */

/** @param {string} name A dependency of bench/ alone: types are not at hand. */
const load = async (name) => /** @type {any} */ (await import(name));
const tf = await load("@tensorflow/tfjs");
const wasm = await load("@tensorflow/tfjs-backend-wasm");
const require = createRequire(import.meta.url);
wasm.setWasmPaths(join(dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json")), "dist/"));
tf.env().set("PROD", true);

/** More than this in one call takes the cpu backend minutes. */
const mostOperationsOnCpu = 4e8;

/** @param {Files} files @param {string} name */
function tensor(files, name) {
  const file = files[name];
  if (file === undefined) throw new Error(`the task has no tensor ${name}`);
  return tf.tensor(readTensor(file), file.shape);
}
const toNhwc = (/** @type {any} */ x) => tf.transpose(x, [0, 2, 3, 1]);
const toNchw = (/** @type {any} */ x) => tf.transpose(x, [0, 3, 1, 2]);
const filter = (/** @type {any} */ w) => tf.transpose(w, [2, 3, 1, 0]);

/** @param {any} y @param {number} step */
const sampleOf = (y, step) => sampled(y.dataSync(), step);

/** @param {ConvTask} task @param {Files} files */
async function conv(task, files) {
  const operations =
    (2 * task.batch * task.outChannels * task.inChannels * (task.kernel * task.size) ** 2) /
    (task.groups * task.stride ** 2);
  if (task.direction !== "forward" && operations > mostOperationsOnCpu)
    throw new Error(`a gradient of ${(operations / 1e9).toFixed(1)} GFLOP takes its cpu backend too long`);
  await tf.setBackend(task.direction === "forward" ? "wasm" : "cpu");
  const x = toNhwc(tensor(files, "x"));
  const depthwise = task.groups > 1;
  const w = depthwise ? tf.transpose(tensor(files, "w"), [2, 3, 0, 1]) : filter(tensor(files, "w"));
  const pad = task.padding;
  const forward = (/** @type {any} */ a, /** @type {any} */ b) =>
    depthwise ? tf.depthwiseConv2d(a, b, task.stride, pad) : tf.conv2d(a, b, task.stride, pad);
  if (task.direction === "forward") {
    return {
      call: () => forward(x, w).dispose(),
      result: (/** @type {number} */ step) => sampleOf(toNchw(forward(x, w)), step),
    };
  }
  const dy = toNhwc(tensor(files, "dy"));
  // The forward pass is part of tfjs's gradient functions; the gradient ops alone are not public.
  const gradient =
    task.direction === "input"
      ? () => tf.grad((/** @type {any} */ a) => forward(a, w))(x, dy)
      : () => tf.grad((/** @type {any} */ b) => forward(x, b))(w, dy);
  const back =
    task.direction === "input"
      ? toNchw
      : (/** @type {any} */ g) => tf.transpose(g, depthwise ? [2, 3, 0, 1] : [3, 2, 0, 1]);
  return { call: () => gradient().dispose(), result: (/** @type {number} */ step) => sampleOf(back(gradient()), step) };
}

/** @param {GemmTask} task @param {Files} files */
async function gemm(task, files) {
  await tf.setBackend("wasm");
  const a = tensor(files, "a");
  const b = tensor(files, "b");
  const product = () => tf.matMul(a, b, false, task.transposed);
  return { call: () => product().dispose(), result: (/** @type {number} */ step) => sampleOf(product(), step) };
}

/** @param {NetworkTask} task @param {Files} files */
async function lenet(task, files) {
  await tf.setBackend(task.kind === "train" ? "cpu" : "wasm");
  const x = toNhwc(tensor(files, "x"));
  /** @param {string} name */
  const state = (name) => tensor(files, `state/${name}`);
  const parameters = Object.fromEntries(
    ["conv1", "conv2", "fc1", "fc2", "fc3"].flatMap((layer) => {
      let weight = state(`${layer}.weight`);
      if (layer.startsWith("conv")) weight = filter(weight);
      return [
        [`${layer}.weight`, tf.variable(weight)],
        [`${layer}.bias`, tf.variable(state(`${layer}.bias`))],
      ];
    }),
  );
  const forward = () => {
    const layer = (/** @type {any} */ y, /** @type {string} */ name, /** @type {number | "same"} */ pad) =>
      tf.maxPool(
        tf.relu(tf.add(tf.conv2d(y, parameters[`${name}.weight`], 1, pad), parameters[`${name}.bias`])),
        2,
        2,
        0,
      );
    const linear = (/** @type {any} */ y, /** @type {string} */ name) =>
      tf.add(tf.matMul(y, parameters[`${name}.weight`], false, true), parameters[`${name}.bias`]);
    const y = toNchw(layer(layer(x, "conv1", 2), "conv2", 0));
    const flat = tf.reshape(y, [task.batch, 400]);
    return linear(tf.relu(linear(tf.relu(linear(flat, "fc1")), "fc2")), "fc3");
  };
  if (task.kind === "infer")
    return {
      call: () => tf.tidy(forward).dispose(),
      result: (/** @type {number} */ step) => sampleOf(forward(), step),
    };
  const target = tf.oneHot(tf.tensor1d(readTensor(/** @type {any} */ (files.target)), "int32"), task.classes);
  const optimizer = tf.train.momentum(0.001, 0.9);
  const call = () => {
    const loss = optimizer.minimize(() => tf.losses.softmaxCrossEntropy(target, forward()), true);
    const value = loss.dataSync()[0];
    loss.dispose();
    return value;
  };
  const losses = [call(), call(), call()];
  return { call, result: (/** @type {number} */ step) => sampled(losses, step) };
}

serve({
  describe: () => `tfjs ${tf.version.tfjs}, wasm (SIMD) forward, cpu training`,
  prepare: async (task, files, { threads }) => {
    if (threads > 1 && task.direction === "forward") wasm.setThreadsCount(threads);
    if (task.kind === "conv") return conv(task, files);
    if (task.kind === "gemm") return gemm(task, files);
    if (task.network === "lenet5") return lenet(task, files);
    throw new Error("tfjs is raced in convolutions, products and LeNet-5");
  },
});
