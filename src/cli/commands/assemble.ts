import { MdError } from "../../base/md-error.ts";
import type { AssembleData, AssembleParams, BadBlockUpdate } from "../../daemon/control-api.ts";
import { errorOf } from "../../daemon/control-client.ts";
import { isArrayDesignator, isPlainName } from "../array-designator.ts";
import type { Command, CommandContext } from "../command.ts";
import { EXIT_PARTIAL } from "../exit-status.ts";
import type { Invocation } from "../invocation.ts";
import { parseCount } from "../parse-size.ts";
import { newMemberPath } from "./member-path.ts";

export const assemble: Command = async (invocation, context) => {
  const { operands, spelling } = invocation;
  const scan = invocation.has("scan");
  const [first] = operands;
  const named = first !== undefined && (spelling === "option" || isArrayDesignator(first) || isPlainName(first));
  const members = (named ? operands.slice(1) : operands).map((member) => newMemberPath(member, context.cwd));
  const uuid = invocation.value("uuid");
  const name = invocation.value("name");
  if (first === undefined && !scan && uuid === null && name === null) {
    throw new MdError("E_USAGE", "assemble needs an array, members or --scan", { hint: "mdctl assemble --scan" });
  }
  const update = readUpdate(invocation);
  if (invocation.has("update") && scan) throw new MdError("E_USAGE", "--update goes with one array");
  const { data } = await context.request("assemble", {
    array: named ? first : null,
    uuid,
    name,
    members,
    scan: scan && first === undefined,
    run: invocation.has("run"),
    noDegraded: invocation.has("no-degraded"),
    force: invocation.has("force"),
    readOnly: invocation.has("readonly"),
    homeCluster: invocation.value("home-cluster"),
    ...update,
    map: !invocation.has("no-map"),
  });
  tell(data, context);
  return { data, text: "", exitCode: exitCodeOf(data, invocation) };
};

const badBlockUpdates: readonly BadBlockUpdate[] = ["bbl", "no-bbl", "force-no-bbl"];

/** What can be updated here; mdadm has more. */
function readUpdate(invocation: Invocation): Pick<AssembleParams, "updateNodes" | "updateBadBlockLog"> {
  const update = invocation.value("update");
  const nodes = invocation.value("nodes");
  const updateBadBlockLog = badBlockUpdates.find((one) => one === update) ?? null;
  if (update !== null && update !== "nodes" && updateBadBlockLog === null) {
    throw new MdError("E_VALUE", `update: "${update}" is not possible; nodes, ${badBlockUpdates.join(", ")} are`, {
      hint: "--update=nodes --nodes=8",
    });
  }
  if ((update === "nodes") !== (nodes !== null)) {
    throw new MdError("E_USAGE", "--update=nodes and --nodes go together", { hint: "--update=nodes --nodes=8" });
  }
  return { updateNodes: nodes === null ? null : parseCount("nodes", nodes, 2, 1024), updateBadBlockLog };
}

function tell({ arrays }: AssembleData, context: CommandContext): void {
  for (const { name, array, started, why } of arrays) {
    if (array !== null) {
      const { activeDevices, raidDevices, slot, nodesMax } = array;
      const drives = activeDevices === 1 ? "1 drive" : `${activeDevices} drives`;
      const place = nodesMax === null ? "" : `, slot ${slot} of ${nodesMax}`;
      context.note(`${name} has been started with ${drives} (out of ${raidDevices})${place}`);
      if (array.mapping !== null) context.note(`exported on ${array.mapping.uri}`);
    } else context.note(`${name} ${started ? "is started" : "was not started"}: ${why}`);
  }
}

function exitCodeOf({ arrays }: AssembleData, { spelling }: Invocation): number {
  const [firstError] = arrays.flatMap(({ error }) => error ?? []);
  const started = arrays.filter((one) => one.started).length;
  if (arrays.length === 0 || arrays.every(({ array, started: up }) => up && array === null)) {
    return spelling === "option" ? 1 : 0;
  }
  if (started === arrays.length) return 0;
  if (started > 0) return EXIT_PARTIAL;
  if (firstError !== undefined) throw errorOf(firstError);
  return 1;
}
