// @ts-check
// A data set that worker threads of a DataLoader make again (trainings.mjs): random images of digits' size.
import { data, randint, randn } from "../../dist/index.js";

/** @param {number} count */
export const digits = (count) => data.arrays(randn([count, 1, 28, 28]), randint(0, 10, [count]));
