import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** In this order they are one program: local functions are seen by what follows. */
const files = [
  "globals.lua",
  "resource.lua",
  "state.lua",
  "lookups.lua",
  "records.lua",
  "commit.lua",
  "locks.lua",
  "recovery.lua",
  "members.lua",
  "functions.lua",
];

export interface LuaLibrary {
  /** `mdlm1_` and a digest of the text: libraries of different versions of mdctl live side by side in one Redis. */
  readonly name: string;
  readonly text: string;
}

/** Read beside this file: tools/copy-lua.mjs puts the Lua files there in a build too. */
export function readLuaLibrary(): LuaLibrary {
  const source = files.map((file) => readFileSync(new URL(`./lua/${file}`, import.meta.url), "utf8")).join("\n");
  const digest = createHash("sha256").update(source).digest("hex").slice(0, 8);
  const name = `mdlm1_${digest}`;
  return { name, text: `#!lua name=${name}\n${source.replaceAll("@LIBRARY@", name)}` };
}
