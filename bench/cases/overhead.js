// @ts-check
/** What one op costs where there is next to nothing to compute: tensors of 16 elements. */

/** @import { Case } from "../types.js" */

/** @returns {Case[]} */
export function overheadCases() {
  return /** @type {const} */ (["add", "add_recorded", "add_sum_backward"]).map((what) => ({
    name: `overhead ${what}`,
    source: "16 elements",
    task: { kind: "overhead", what },
    operations: 0,
    groups: [what === "add_sum_backward" ? "overhead backward" : "overhead"],
  }));
}
