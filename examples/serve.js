// @ts-check
/**
 * Serves a trained classifier: POST /predict with an image answers the most probable classes.
 *
 *   node examples/serve.js --weights runs/NAME/lenet.safetensors
 *   curl --data-binary @digit.png -H "Content-Type: image/png" localhost:8080/predict
 *   curl --data-binary @pixels.bin -H "Content-Type: application/octet-stream" localhost:8080/predict
 *
 * Raw pixels are bytes in the model's order [channels, height, width]; other images are decoded by the package sharp.
 * Requests that come together are computed together, off the main thread: the event loop stays free.
 */
import { createServer } from "node:http";
import { data, io, nn, serve, softmax, tensor, XcorrError } from "xcorr";
import { known } from "./support/models.js";
import { machine, readFlags } from "./support/run.js";

const flags = readFlags(
  `Serves a classifier over HTTP.

  --weights FILE    safetensors with the model's state (required)
  --model NAME      LeNet5, resnet18Cifar, resnet18 or resnet50 (default LeNet5)
  --classes LIST    names, separated by commas (default: numbers)
  --top N           classes in an answer (default 3)
  --port N          0 for any that is free (default 8080)
  --threads N       compute threads (default: all cores)`,
  { weights: "", model: "LeNet5", classes: "", top: 3, port: 8080, threads: 0 },
);
if (flags.weights === "") {
  console.error("--weights FILE is needed; npm start makes one for LeNet5");
  process.exit(2);
}

const { make, head, size, mean, deviation } = known(flags.model);
const weights = io.loadSafetensors(flags.weights);
const classCount = weights[`${head}.weight`]?.shape[0];
if (classCount === undefined) {
  console.error(`${flags.weights} has no ${head}.weight: these are not the weights of a ${flags.model}`);
  process.exit(1);
}
const model = make(classCount);
model.loadStateDict(weights);
model.eval();
const predict = serve.microBatch(nn.optimizeForInference(model), { maxBatch: 32, maxDelay: 2 });
const names = flags.classes === "" ? null : flags.classes.split(",");
const normalize = data.normalize(mean, deviation);
const [channels, height, width] = size;
const mostBytes = 20 * 2 ** 20;

/** What a client did wrong, with the status to answer. */
class RequestError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {import("node:http").IncomingMessage} request */
async function body(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > mostBytes) throw new RequestError(413, `the image has more than ${mostBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** The image of a request as the model takes it. @param {Buffer} bytes @param {string} type */
async function image(bytes, type) {
  if (type === "application/octet-stream") {
    const expected = channels * height * width;
    if (bytes.length !== expected) {
      const sizes = `[${channels}, ${height}, ${width}]`;
      throw new RequestError(400, `raw pixels ${sizes} are ${expected} bytes, but ${bytes.length} came`);
    }
    return tensor(new Uint8Array(bytes), { shape: size });
  }
  if (!type.startsWith("image/")) {
    throw new RequestError(
      415,
      `Content-Type must be image/png, image/jpeg, ... or application/octet-stream, got ${type}`,
    );
  }
  return data.decodeImage(bytes, { size: [height, width], channels: channels === 1 ? 1 : 3 });
}

/** @param {import("node:http").IncomingMessage} request @returns {Promise<object>} */
async function answer(request) {
  const path = new URL(request.url ?? "/", "http://localhost").pathname;
  if (path === "/health") return { model: flags.model, served: predict.served, batches: predict.batches };
  if (path !== "/predict") throw new RequestError(404, "there are POST /predict and GET /health");
  if (request.method !== "POST") throw new RequestError(405, "POST an image to /predict");
  const began = performance.now();
  const type = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  const pixels = await image(await body(request), type);
  const [x] = normalize([pixels.unsqueeze(0)], { epoch: 0, batch: 0, random: /** @type {any} */ (undefined) });
  const logits = await predict(x.squeeze(0));
  const shares = Array.from(softmax(logits, 0).data());
  const best = shares
    .map((probability, label) => ({ label, name: names?.[label] ?? String(label), probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, flags.top);
  return { predictions: best, milliseconds: Number((performance.now() - began).toFixed(2)) };
}

const server = createServer((request, response) => {
  /** @param {number} status @param {object} content */
  const send = (status, content) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(`${JSON.stringify(content)}\n`);
  };
  answer(request).then(
    (content) => send(200, content),
    (error) => {
      const status = error instanceof RequestError ? error.status : error instanceof XcorrError ? 400 : 500;
      if (status === 500) console.error(error);
      send(status, { error: status === 500 ? "the server failed" : error.message });
    },
  );
});
server.listen(flags.port, () => {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : flags.port;
  console.log(`${machine()}; ${flags.model} of ${classCount} classes`);
  console.log(`listening on http://localhost:${port}/predict`);
});

process.on("SIGTERM", async () => {
  server.close();
  await predict.close();
});
