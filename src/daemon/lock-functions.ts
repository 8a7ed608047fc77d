import { type LuaLibrary, readLuaLibrary } from "../dlm/redis/lua-library.ts";

/** What Redis must have loaded before a node can lock in it, for where the nodes themselves may not load it. */
export const lockFunctions = (): LuaLibrary => readLuaLibrary();
