import { MdError } from "../../base/md-error.ts";
import type { ArrayInfo } from "../../daemon/control-api.ts";
import type { Command } from "../command.ts";
import { mismatchLines } from "../render/mismatch-text.ts";
import { syncText } from "../render/sync-text.ts";
import { actionParams } from "./action.ts";

/** A check, or with --repair a repair, to its end, and what it found. Exit 0: nothing differs (any more); 1: something does. */
export const scrub: Command = async (invocation, context) => {
  const { operands } = invocation;
  if (operands.length > 1) throw new MdError("E_USAGE", `scrub takes one array, not ${operands.length}`);
  const { repairs, source } = repairOf(invocation.value("repair"));
  const params = actionParams(invocation, operands[0] ?? null, repairs ? "repair" : "check");
  const begun = await context.request("action", source === null ? params : { ...params, source });
  const { array } = begun.data;
  context.note(
    !repairs
      ? `check of ${array} begins; nothing is written`
      : `repair of ${array} begins: ${source === null ? "what most copies say is right" : `what ${source} has is right`}`,
  );
  await context.request(
    "wait",
    { arrays: [array] },
    {
      onEvent: ({ name, sync }) => context.progress(`${name} ${syncText(sync)}`, Math.floor((sync.percent ?? 0) * 10)),
    },
  );
  context.endProgress();
  const { data } = await context.request("detail", { array });
  const { mismatch } = data.array;
  return { data: { array, mismatch }, text: mismatchLines(data.array).join("\n"), exitCode: isClean(mismatch) ? 0 : 1 };
};

const isClean = ({ state, left }: ArrayInfo["mismatch"]): boolean => state === "finished" && !left;

/** `off`, `majority` or `source=MEMBER`. */
function repairOf(text: string | null): { readonly repairs: boolean; readonly source: string | null } {
  if (text === null || text === "off") return { repairs: false, source: null };
  if (text === "majority") return { repairs: true, source: null };
  const source = /^source=(.+)$/.exec(text)?.[1];
  if (source !== undefined) return { repairs: true, source };
  const why = text === "checksum" ? "arrays have no checksums" : "it is off, majority or source=MEMBER";
  throw new MdError("E_VALUE", `repair: "${text}" is not possible: ${why}`, { hint: "--repair=majority" });
}
