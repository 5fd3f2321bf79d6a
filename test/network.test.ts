import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/** Nothing that is shipped talks to a network. */

const root = fileURLToPath(new URL("..", import.meta.url));
const talking =
  /(?:from|import|require)\s*\(?\s*["'](?:node:)?(?:net|http|https|http2|dns|dns\/promises|tls|dgram|inspector|undici)["']|\bfetch\s*\(|\bnew\s+(?:WebSocket|EventSource)\b|getBuiltinModule/;

describe("the library", () => {
  it("imports nothing that opens a connection, and fetches nothing", () => {
    const files = readdirSync(join(root, "lib"), { recursive: true, encoding: "utf8" }).filter((f) =>
      f.endsWith(".ts"),
    );
    expect(files.length).toBeGreaterThan(100);
    const found = files.filter((file) => talking.test(readFileSync(join(root, "lib", file), "utf8")));
    expect(found).toEqual([]);
    expect('import { get } from "node:https";').toMatch(talking); // the check itself
  });
});
