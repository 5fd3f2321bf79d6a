// @ts-check
/** onnxruntime-node as a contender: inference of the networks that PyTorch has exported. */
import { readTensor, sampled, serve } from "./lines.js";

const name = "onnxruntime-node"; // a dependency of bench/ alone: types are not at hand
const ort = /** @type {any} */ (await import(name));

serve({
  describe: () => `onnxruntime-node ${ort.env.versions.node}`,
  async prepare(task, files, { threads }) {
    if (task.kind !== "infer") throw new Error("onnxruntime is raced in inference only");
    const x = files.x;
    if (x === undefined || files.onnx === undefined) throw new Error("no exported network (PyTorch writes it)");
    const session = await ort.InferenceSession.create(files.onnx.path, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: "all",
      // Waiting threads must not take the core of whoever has the next turn.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
    const input = { x: new ort.Tensor("float32", readTensor(x), x.shape) };
    return {
      call: () => session.run(input),
      result: async (step) => sampled((await session.run(input)).y.data, step),
      drop: () => session.release(),
    };
  },
});
