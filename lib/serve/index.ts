/** For servers: requests in batches, tensors between threads. */
export * from "./micro_batch.js";
export * from "./shared.js";
