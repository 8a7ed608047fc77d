import { MdError } from "../../base/md-error.ts";
import type { LuaLibrary } from "./lua-library.ts";
import { replyWord } from "./redis-faults.ts";
import type { RedisLink } from "./redis-link.ts";

/** True: it was not there and has been loaded. Rejects with E_PERMISSION when this user may not load it. */
export async function ensureLibrary(link: RedisLink, { name, text }: LuaLibrary, about: string): Promise<boolean> {
  const found = await link.send("FUNCTION", "LIST", "LIBRARYNAME", name);
  if (Array.isArray(found) && found.length > 0) return false;
  try {
    await link.send("FUNCTION", "LOAD", text);
    return true;
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    const why = String(error.cause instanceof Error ? error.cause.message : error.cause);
    if (why.includes("already exists")) return false; // another node was faster
    if (replyWord(error.cause) !== "NOPERM") throw error;
    throw new MdError(
      "E_PERMISSION",
      `the lock functions ${name} are not in ${about}, and this user may not load them`,
      {
        why,
        hint: "mdctl lock-functions | redis-cli -u redis://ADMIN@HOST:PORT -x FUNCTION LOAD",
        cause: error,
      },
    );
  }
}
