// tsc copies no .lua file: without this step every lock call of a built mdctl would fail.
import { cpSync, existsSync } from "node:fs";

const from = new URL("../src/dlm/redis/lua/", import.meta.url);
if (existsSync(from)) cpSync(from, new URL("../dist/dlm/redis/lua/", import.meta.url), { recursive: true });
