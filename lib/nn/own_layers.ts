import * as activation from "./activation.js";
import * as adaptivePool from "./adaptive_pool.js";
import * as batchNorm from "./batch_norm.js";
import { Sequential } from "./container.js";
import * as conv from "./conv.js";
import * as convTranspose from "./conv_transpose.js";
import * as dropout from "./dropout.js";
import * as embedding from "./embedding.js";
import * as instanceNorm from "./instance_norm.js";
import * as layerNorm from "./layer_norm.js";
import * as linear from "./linear.js";
import * as localResponseNorm from "./local_response_norm.js";
import * as lpPool from "./lp_pool.js";
import * as models from "./models/index.js";
import { keepNothing } from "./ownership.js";
import * as padding from "./padding.js";
import * as pool from "./pool.js";
import * as shape from "./shape.js";

/** All layers and networks of the library: none keeps what it computes. */
const families = [
  activation,
  adaptivePool,
  batchNorm,
  conv,
  convTranspose,
  dropout,
  embedding,
  instanceNorm,
  layerNorm,
  linear,
  localResponseNorm,
  lpPool,
  models,
  padding,
  pool,
  shape,
];
for (const family of families) keepNothing(Object.values(family));
keepNothing([Sequential]);
