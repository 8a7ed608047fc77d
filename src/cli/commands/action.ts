import { MdError } from "../../base/md-error.ts";
import type { ControlMethods } from "../../daemon/control-api.ts";
import type { Command } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { parsePosition, parseRate } from "../parse-size.ts";

const words = ["idle", "frozen", "check", "repair"] as const;

type ActionWord = (typeof words)[number];
export type ActionParams = ControlMethods["action"]["params"];

const isAction = (word: string): word is ActionWord => words.some((one) => one === word);

/** Sets sync_action of this node, and how fast it may copy. */
export const action: Command = async (invocation, context) => {
  const { operands } = invocation;
  const given = operands.filter(isAction);
  const names = operands.filter((word) => !isAction(word));
  const [wanted] = given;
  if (given.length > 1) throw new MdError("E_USAGE", `action takes one word, not ${given.join(" and ")}`);
  if (names.length > 1) throw new MdError("E_USAGE", `action takes one array, not ${names.length}`);
  const params = actionParams(invocation, names[0] ?? null, wanted ?? null);
  if (wanted === undefined && params.limitKib === undefined && params.leastKib === undefined) {
    throw new MdError("E_USAGE", "action is not told what to do", { hint: "mdctl action check, or --limit=20M" });
  }
  const { data } = await context.request("action", params);
  if (params.limitKib !== undefined) {
    const rate = params.limitKib === 0 ? "as fast as it can" : `${params.limitKib} KiB per second`;
    context.note(`resync of ${data.array} may copy ${rate} on this node`);
  }
  if (params.leastKib !== undefined) {
    context.note(`resync of ${data.array} copies ${params.leastKib} KiB per second beside clients' requests, too`);
  }
  if (wanted !== undefined) context.note(told(wanted, data.array));
  return { data, text: "" };
};

/** What is not given is left out. E_USAGE for what does not go together. */
export function actionParams(invocation: Invocation, array: string | null, wanted: ActionWord | null): ActionParams {
  const limit = invocation.value("limit");
  const least = invocation.value("limit-min");
  const source = invocation.value("source");
  const bounds = { from: invocation.value("from"), to: invocation.value("to") };
  if (source !== null && wanted !== "repair") throw new MdError("E_USAGE", "--source is for repair only");
  for (const [name, value] of Object.entries(bounds)) {
    if (value !== null && wanted !== "check" && wanted !== "repair") {
      throw new MdError("E_USAGE", `--${name} is for check and repair only`);
    }
  }
  return {
    array,
    ...(limit === null
      ? {}
      : { limitKib: limit === "max" ? 0 : Math.max(1, Math.floor(parseRate("limit", limit) / 1024)) }),
    ...(least === null ? {} : { leastKib: Math.floor(parseRate("limit-min", least) / 1024) }),
    ...(wanted === null ? {} : { action: wanted }),
    ...(bounds.from === null ? {} : { fromBytes: parsePosition("from", bounds.from) }),
    ...(bounds.to === null ? {} : { toBytes: parsePosition("to", bounds.to) }),
    ...(source === null ? {} : { source }),
  };
}

function told(wanted: ActionWord, array: string): string {
  switch (wanted) {
    case "idle":
      return `what this node copied or compared in ${array} ends; what is due begins anew`;
    case "frozen":
      return `nothing of ${array} is copied by this node until mdctl action ${array} idle`;
    case "check":
    case "repair":
      return `${wanted} of ${array} begins; mdctl wait ${array}, then mdctl detail ${array}`;
    default:
      return wanted satisfies never;
  }
}
