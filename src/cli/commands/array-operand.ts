import { MdError } from "../../base/md-error.ts";
import type { Invocation } from "../invocation.ts";

/** The one array that a verb may be given; null: the daemon takes the only one. E_USAGE for more. */
export function arrayOperand({ verb, operands }: Invocation): string | null {
  const [array, extra] = operands;
  if (extra !== undefined)
    throw new MdError("E_USAGE", `${verb} does not take "${extra}"`, { hint: `mdctl ${verb} --help` });
  return array ?? null;
}
