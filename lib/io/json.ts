import { FormatError } from "../core/errors.js";
import { describe } from "../core/shape.js";

/** JSON as read from files of others: maps keep every key apart from the language's own, and no key may come twice. */
export type Json = null | boolean | number | string | Json[] | Map<string, Json>;

/**
 * What a text may cost as objects, lists and values, each by about the 64 bytes that it takes in memory: a file of a few
 * megabytes could otherwise say "{},{}," until the heap ends, and that ends the process.
 */
const mostCost = 4_000_000;
const objectCost = 4;
const listCost = 2;

/** Parses strict JSON of at most `deepest` levels; `where` names the text in messages. Trailing spaces are allowed. */
export function parseJson(text: string, where: string, deepest: number): Json {
  let at = 0;
  let cost = 0;
  const spend = (amount: number): void => {
    cost += amount;
    if (cost > mostCost) fail("there are too many lists, objects and values");
  };
  const fail = (what: string): never => {
    throw new FormatError(`${where}: ${what} at character ${at}`);
  };
  const skip = (): void => {
    while (at < text.length && " \t\n\r".includes(text[at]!)) at++;
  };
  const expect = (character: string): void => {
    if (text[at] !== character) fail(`expected ${JSON.stringify(character)}, found ${found()}`);
    at++;
  };
  const found = (): string => (at < text.length ? JSON.stringify(text[at]) : "the end");

  const string = (): string => {
    const start = at;
    expect('"');
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    expect('"');
    try {
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      at = start;
      return fail("the string is not valid JSON");
    }
  };
  const list = (depth: number): Json[] => {
    const out: Json[] = [];
    spend(listCost);
    expect("[");
    skip();
    if (text[at] === "]") {
      at++;
      return out;
    }
    for (;;) {
      out.push(value(depth));
      skip();
      if (text[at] !== ",") break;
      at++;
    }
    expect("]");
    return out;
  };
  const object = (depth: number): Map<string, Json> => {
    const out = new Map<string, Json>();
    spend(objectCost);
    expect("{");
    skip();
    if (text[at] === "}") {
      at++;
      return out;
    }
    for (;;) {
      skip();
      const key = string();
      if (out.has(key)) fail(`the key ${describe(key)} comes twice`);
      skip();
      expect(":");
      out.set(key, value(depth));
      skip();
      if (text[at] !== ",") break;
      at++;
    }
    expect("}");
    return out;
  };
  const plain = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/y;
  const value = (depth: number): Json => {
    spend(1);
    skip();
    if (text[at] === "{" || text[at] === "[") {
      if (depth >= deepest) fail(`more than ${deepest} levels of lists and objects`);
      return text[at] === "{" ? object(depth + 1) : list(depth + 1);
    }
    if (text[at] === '"') return string();
    plain.lastIndex = at;
    const match = plain.exec(text)?.[0];
    if (match === undefined) return fail(`expected a value, found ${found()}`);
    at += match.length;
    return JSON.parse(match) as Json;
  };

  const result = value(0);
  skip();
  if (at < text.length) fail(`expected the end, found ${found()}`);
  return result;
}
